// llama.cpp on one model file: loads it, says which CPU library does the work, then answers one request a line of standard input with one line of JSON each.
// Usage: node llama-cpp.mjs FILE
// A request: { threads, flash, sequences, context, prompt, decode }. The answer: { first, rest, tokens, batch, threads }.
//   sequences = 1: seconds until the first token of a prompt, and from there until `decode` more have come.
//   sequences > 1: all prompts are evaluated first; seconds of `decode` tokens in each of the sequences, which share batches; `batch` is the mean sequences in one.
import fs from "node:fs";
import readline from "node:readline";
import { getLlama } from "node-llama-cpp";

// No limit on threads: under one, a context that follows another at once may get fewer than it asks for.
const llama = await getLlama({ gpu: false, build: "never", maxThreads: 0, logLevel: "error" });
const model = await llama.loadModel({ modelPath: process.argv[2], useMmap: true, ignoreMemorySafetyChecks: true });
const contexts = new Map();

const seconds = (since) => Number(process.hrtime.bigint() - since) / 1e9;
const promptOf = (tokens, sequence) => Array.from({ length: tokens }, (_, i) => 1000 + ((i * 37 + sequence * 1009) % 5000)); // any ids do: the arithmetic is the same

// An equal part of the batch for each waiting sequence: when decoding, a token. Counts what batches hold.
const shared = (counts) => ({ items, size }) => {
    counts.batches++;
    counts.sequences += items.length;
    const part = Math.max(1, Math.floor(size / items.length));
    return items.map((item) => ({ item, processAmount: Math.min(part, item.tokens.length) }));
};

const open = async ({ threads, flash, sequences, context }) => {
    const key = [threads, flash, sequences, context].join();
    if (!contexts.has(key)) {
        const counts = { batches: 0, sequences: 0 };
        const made = await model.createContext({
            contextSize: context, sequences, batchSize: 512, threads, flashAttention: flash, ignoreMemorySafetyChecks: true,
            ...(sequences > 1 ? { batching: { itemPrioritizationStrategy: shared(counts) } } : {}),
        });
        contexts.set(key, { counts, context: made, sequences: Array.from({ length: sequences }, () => made.getSequence()) });
    }
    return contexts.get(key);
};

const one = async (sequence, { prompt, decode }) => {
    await sequence.clearHistory();
    const start = process.hrtime.bigint();
    let first = 0, tokens = 0;
    for await (const token of sequence.evaluate(promptOf(prompt, 0), { temperature: 0, yieldEogToken: true })) {
        if (tokens === 0) first = seconds(start);
        if (++tokens > decode) break;
    }
    return { first, rest: seconds(start) - first, tokens: tokens - 1 };
};

const several = async ({ sequences, counts }, { prompt, decode }) => {
    for (const sequence of sequences) await sequence.clearHistory();
    await Promise.all(sequences.map((sequence, i) => sequence.evaluateWithoutGeneratingNewTokens(promptOf(prompt, i))));
    counts.batches = counts.sequences = 0;
    const start = process.hrtime.bigint();
    const iterators = sequences.map((sequence) => sequence.evaluate([42], { temperature: 0, yieldEogToken: true }));
    for (let tokens = 0; tokens < decode; tokens++) {
        await Promise.all(iterators.map((iterator) => iterator.next()));
        await new Promise(setImmediate); // the queue comes to rest, or it would begin a batch with the first of them to come back
    }
    const rest = seconds(start);
    await Promise.all(iterators.map((iterator) => iterator.return()));
    return { first: 0, rest, tokens: decode * sequences.length, batch: counts.sequences / counts.batches };
};

const libraries = new Set(fs.readFileSync("/proc/self/maps", "utf8").split("\n").map((line) => line.split("/").pop()).filter((name) => name.startsWith("libggml-cpu")));
console.log(JSON.stringify({ library: [...libraries].join(), system: llama.systemInfo.trim(), release: llama.llamaCppRelease.release }));
for await (const line of readline.createInterface({ input: process.stdin })) {
    const request = JSON.parse(line);
    const opened = await open(request);
    const answer = request.sequences === 1 ? await one(opened.sequences[0], request) : await several(opened, request);
    console.log(JSON.stringify({ ...answer, threads: opened.context.currentThreads }));
}
process.exit(0);
