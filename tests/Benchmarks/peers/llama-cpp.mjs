// llama.cpp on one model file: prefill of a prompt and decode after it, every round in tokens a second, one JSON line.
// Usage: node llama-cpp.mjs FILE THREADS PROMPT_TOKENS DECODE_TOKENS ROUNDS
import { getLlama } from "node-llama-cpp";

const [file, threads, promptTokens, decodeTokens, rounds] = [process.argv[2], ...process.argv.slice(3).map(Number)];
const llama = await getLlama({ gpu: false, build: "never", maxThreads: threads, logLevel: "error" });
const model = await llama.loadModel({ modelPath: file, useMmap: true });
const context = await model.createContext({ contextSize: promptTokens + decodeTokens + 16, batchSize: 512, threads, flashAttention: false });
const sequence = context.getSequence();
const prompt = Array.from({ length: promptTokens }, (_, i) => 1000 + ((i * 37) % 5000)); // any ids do: the arithmetic is the same

const seconds = async (work) => {
    const start = process.hrtime.bigint();
    await work();
    return Number(process.hrtime.bigint() - start) / 1e9;
};
const prefill = [], decode = [];
for (let round = 0; round <= rounds; round++) {
    await sequence.clearHistory();
    const prefillSeconds = await seconds(() => sequence.evaluateWithoutGeneratingNewTokens(prompt));
    let count = 0;
    const decodeSeconds = await seconds(async () => {
        for await (const token of sequence.evaluate([42], { temperature: 0, yieldEogToken: true }))
            if (++count >= decodeTokens) break;
    });
    if (round === 0) continue; // warm-up
    prefill.push(promptTokens / prefillSeconds);
    decode.push(count / decodeSeconds);
}
const summary = (values) => {
    values.sort((a, b) => a - b);
    return { median: values[values.length >> 1], rounds: values };
};
console.log(JSON.stringify({ peer: "llama.cpp", threads, prefill: summary(prefill), decode: summary(decode) }));
await model.dispose();
await llama.dispose();
process.exit(0);
