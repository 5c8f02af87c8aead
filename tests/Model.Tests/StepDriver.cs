using TpServe.Checkpoint.Config;
using TpServe.Model.Adapters;
using TpServe.Model.Sampling;

namespace TpServe.Model.Tests;

/// <summary>A scheduler in miniature: jobs join and leave at every step, prompts run in chunks beside decoding sequences.</summary>
internal static class StepDriver
{
    /// <summary>Runs all jobs on one rank; every rank of a group runs the same.</summary>
    public static JobResult[] Run(ModelRank rank, IReadOnlyList<Job> jobs, IReadOnlyDictionary<string, LoraAdapter>? adapters = null)
    {
        int blockTokens = rank.Cache.BlockTokens;
        RopeConfig rope = rank.Model.Config.Rope;
        StepBatch batch = new(blockTokens);
        State[] states = [.. jobs.Select(job => new State(job))];

        // Blocks in an order that no sequence finds ascending or contiguous.
        Stack<int> free = new(Enumerable.Range(0, rank.Cache.Blocks).OrderBy(block => block * 2654435761L % 4093));
        for (int step = 0; states.Any(state => !state.Done); step++)
        {
            batch.Clear(step + 1);
            List<(State State, bool Sampled, int[] Guesses)> active = [];
            foreach (State state in states.Where(state => !state.Done && state.Job.JoinsAt <= step))
            {
                // What was rotated for a shorter sequence is computed anew.
                bool longRope = rope.Scaling == RopeScaling.LongRope && state.Tokens.Count > rope.OriginalMaxPositions;
                if (longRope && !state.LongRope)
                    (state.LongRope, state.Computed) = (true, 0);
                bool asks = state.Job.PromptTopLogprobs >= 0 && state.Asked == state.Computed && state.Computed < state.Job.Prompt.Count;
                int count = Math.Min(state.Job.Chunk, state.Tokens.Count - state.Computed);
                bool sampled = state.Computed + count == state.Tokens.Count && state.Job.NewTokens > 0;
                int room = state.Job.NewTokens - state.Result.Tokens.Count - 1;
                if (rope.Scaling == RopeScaling.LongRope && !longRope)
                    room = Math.Min(room, rope.OriginalMaxPositions - state.Tokens.Count);
                int[] guesses = sampled ? [.. state.Job.Guesses([.. state.Tokens]).Take(room)] : [];
                int[] tokens = [.. state.Tokens, .. guesses];
                while (state.Blocks.Count * blockTokens < state.Computed + count + guesses.Length)
                    state.Blocks.Add(free.Pop());
                int row = batch.AddSequence(tokens.AsSpan(state.Computed, count + guesses.Length), state.Computed, [.. state.Blocks], longRope, state.Job.Lora is { } lora ? adapters![lora] : null);
                if (asks)
                    for (int i = 0; i < count; i++)
                        batch.PromptLogprobs.Add(new(row + i, state.Computed + i + 1 < state.Job.Prompt.Count ? state.Tokens[state.Computed + i + 1] : 0, state.Job.PromptTopLogprobs));
                for (int i = 0; i < count; i++)
                    if (state.Pooled is { } pooled && pooled.Wants(state.Computed + i))
                        batch.Pooled.Add(new PooledRow(row + i, pooled));
                state.AskedRows = asks ? count : 0;
                state.Asked += state.AskedRows;
                state.Computed += count;
                for (int guess = 0; sampled && guess <= guesses.Length; guess++)
                    batch.Samples.Add(new SampleRow(row + count - 1 + guess, state.Job.Settings, tokens.AsMemory(0, state.Tokens.Count + guess), state.Job.Prompt.Count, state.Job.TopLogprobs));
                active.Add((state, sampled, guesses));
            }
            if (batch.Rows == 0)
                continue;

            StepOutput output = rank.Run(batch);
            int sample = 0, asked = 0;
            foreach ((State state, bool sampled, int[] guesses) in active)
            {
                if (output.PromptLogprobs.Count > 0)
                    state.Result.Rows.AddRange(output.PromptLogprobs.Skip(asked).Take(state.AskedRows));
                asked += state.AskedRows;
                if (sampled)
                {
                    Take(state, guesses, output, sample);
                    sample += 1 + guesses.Length;
                }
                if (state is { Done: true, Pooled: { } whole } && rank.Pools)
                    state.Result.Vector = whole.Vector();
                if (state.Done)
                    foreach (int block in state.Blocks)
                        free.Push(block);
            }
        }
        return [.. states.Select(state => state.Result)];
    }

    /// <summary>What a sequence gets of a step: the token after its last, and one more after each guess that was right.</summary>
    private static void Take(State state, int[] guesses, StepOutput output, int sample)
    {
        for (int right = 0; ; right++)
        {
            int token = output.TokenIds[sample + right];
            if (output.Logprobs.Count > 0 && output.Logprobs[sample + right] is { } logprobs)
                state.Result.Logprobs.Add(logprobs);
            state.Tokens.Add(Math.Max(0, token)); // a row that failed goes on with some token, as in a worker
            state.Result.Tokens.Add(token);
            if (right == guesses.Length || guesses[right] != token)
                return;
            state.Computed++;
        }
    }

    private sealed class State(Job job)
    {
        public Job Job => job;

        public List<int> Tokens { get; } = [.. job.Prompt];

        public List<int> Blocks { get; } = [];

        public PooledStates? Pooled { get; } = job.Pooling is { } pooling ? new PooledStates(pooling, job.Prompt.Count) : null;

        public int Computed { get; set; }

        public bool LongRope { get; set; }

        /// <summary>Prompt rows asked about so far.</summary>
        public int Asked { get; set; }

        /// <summary>Of them, in this step.</summary>
        public int AskedRows { get; set; }

        public JobResult Result { get; } = new();

        public bool Done => Computed >= job.Prompt.Count && Result.Tokens.Count >= job.NewTokens;
    }
}
