using System.Globalization;
using System.Text;
using TpServe.Gateway.Reports.Inputs;
using TpServe.Gateway.Reports.Statistics;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Reports.Measuring;

/// <summary>What a group says, to be compared bit by bit, and how likely it finds what others have written.</summary>
internal static class OutputRun
{
    /// <summary>Positions of a text whose logprobs are taken at once.</summary>
    public const int WindowTokens = 256;

    /// <summary>Likeliest tokens that are asked for where distributions are compared; the API's most.</summary>
    public const int MostTop = 20;

    private const int ComparedPrompts = 4, ComparedTokens = 32, ComparedTop = 5, AtOnce = 8;
    private const ulong ComparedSeed = 7;

    /// <summary>Greedy answers to the first prompts and one sampled answer, with logprobs and likeliest tokens of prompts and outputs; at once, so that they share steps.</summary>
    public static async Task<IReadOnlyList<OutputRecord>> AnswersAsync(ServerClient client, IReadOnlyList<ReportPrompt> prompts, CancellationToken cancellation)
    {
        IEnumerable<(ReportPrompt Prompt, bool Sampled)> asked = prompts.Take(ComparedPrompts).Select(prompt => (prompt, false)).Append((prompts[0], true));
        OutputRecord[][] answers = await Task.WhenAll(asked.Select(async one =>
        {
            GenerateRequest request = new()
            {
                Text = one.Prompt.Text,
                Sampling = one.Sampled ? new SamplingOptions { Temperature = 0.9f, TopP = 0.95f, TopK = 0, Seed = ComparedSeed } : new SamplingOptions { Temperature = 0 },
                Stopping = new StoppingOptions { MaxTokens = ComparedTokens, IgnoreEos = true },
                Response = new ResponseOptions { PromptLogprobs = ComparedTop, Logprobs = true, TopLogprobs = ComparedTop },
                Cache = new CacheOptions { Bypass = true },
            };
            GenerateResponse answer = await client.GenerateAsync(request, cancellation);
            string name = one.Sampled ? $"{one.Prompt.Source}, sampled" : one.Prompt.Source;
            return (OutputRecord[])
            [
                new($"{name}, prompt", [.. answer.PromptLogprobs.Select(ServerClient.Position)]),
                new($"{name}, output", [.. answer.Outputs[0].Tokens.Select(ServerClient.Position)]),
            ];
        }));
        return [.. answers.SelectMany(answer => answer)];
    }

    /// <summary>Logprobs of a text in windows without overlap; the first token of each has none.</summary>
    /// <param name="client">The server.</param>
    /// <param name="tokens">The text.</param>
    /// <param name="window">Tokens of a window.</param>
    /// <param name="top">Likeliest tokens to ask for.</param>
    /// <param name="cancellation">Ends it early.</param>
    public static async Task<IReadOnlyList<PositionLogprobs>> ScoreTextAsync(ServerClient client, int[] tokens, int window, int top, CancellationToken cancellation)
    {
        List<PositionLogprobs> positions = [];
        for (int first = 0; tokens.Length - first >= 2; first += window)
            positions.AddRange(await client.ScoreAsync(tokens.AsMemory(first, Math.Min(window, tokens.Length - first)), top, cancellation));
        return positions;
    }

    /// <summary>Multiple choice: for each question the choice whose tokens have the largest sum of logprobs after the prompt, and the largest by byte of its text.</summary>
    /// <remarks>Source   the convention of lm-evaluation-harness: white space at the prompt's end belongs to the choice; tokens of prompt and choice together are cut where the prompt's own end.</remarks>
    /// <exception cref="InputFileException">A question is longer than the context.</exception>
    public static async Task<ReportEval> EvaluateAsync(ServerClient client, IReadOnlyList<EvalItem> items, string source, int maxModelLen, CancellationToken cancellation)
    {
        int[] raw = new int[items.Count], normalised = new int[items.Count];
        await Parallel.ForAsync(0, items.Count, new ParallelOptions { MaxDegreeOfParallelism = AtOnce, CancellationToken = cancellation }, async (index, token) =>
        {
            EvalItem item = items[index];
            string context = item.Prompt.TrimEnd(), space = item.Prompt[context.Length..];
            int contextTokens = context.Length == 0 ? 0 : (await client.TokenizeAsync(context, token)).Length;
            double[] sums = new double[item.Choices.Count];
            for (int choice = 0; choice < sums.Length; choice++)
            {
                int[] whole = await client.TokenizeAsync(context + space + item.Choices[choice], token);
                if (whole.Length > maxModelLen)
                    throw new InputFileException("--eval", source, item.Line, string.Create(CultureInfo.InvariantCulture, $"choice {choice} makes {whole.Length} tokens; the context has {maxModelLen}."));
                if (whole.Length < 2)
                    throw new InputFileException("--eval", source, item.Line, $"choice {choice} and the prompt are one token together, which nothing says the likelihood of.");
                // Position i of the scores is token i + 1.
                int first = Math.Clamp(contextTokens, 1, whole.Length - 1);
                sums[choice] = (await client.ScoreAsync(whole, 0, token)).Skip(first - 1).Sum(position => (double)position.Logprob);
            }
            raw[index] = MultipleChoice.Largest(sums);
            normalised[index] = MultipleChoice.Largest([.. sums.Select((sum, choice) => sum / Encoding.UTF8.GetByteCount(item.Choices[choice]))]);
        });
        int[] answers = [.. items.Select(item => item.Answer)];
        return new ReportEval
        {
            File = Path.GetFileName(source),
            Items = items.Count,
            Accuracy = MultipleChoice.Accuracy(answers, raw),
            NormalisedAccuracy = MultipleChoice.Accuracy(answers, normalised),
            MacroF1 = MultipleChoice.MacroF1(answers, raw),
            NormalisedMacroF1 = MultipleChoice.MacroF1(answers, normalised),
        };
    }
}
