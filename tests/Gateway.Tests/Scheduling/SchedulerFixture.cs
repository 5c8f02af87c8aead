using TpServe.Gateway.Scheduling;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Tests.Scheduling;

/// <summary>Sequences, and a worker that answers every plan as the protocol says.</summary>
internal static class SchedulerFixture
{
    public static Sequence Sequence(ulong id, int prompt, int maxNew, params int[] endTokens) => new(
        new SequenceId(id),
        new SequenceSpec
        {
            Prompt = Enumerable.Range(1, prompt).ToArray(),
            MaxNewTokens = maxNew,
            Sampling = new SamplingParameters(),
            EndTokens = endTokens.ToHashSet(),
        });

    public static StepResult Answer(StepPlan plan, Func<ulong, int>? token = null)
    {
        StepResult result = new() { Epoch = plan.Epoch, Step = plan.Step };
        foreach (SequenceStep rows in plan.Sequences)
        {
            SequenceResult answer = new() { SequenceId = rows.SequenceId };
            if (rows.Sample)
                answer.TokenId = token?.Invoke(rows.SequenceId) ?? 7;
            result.Sequences.Add(answer);
        }
        return result;
    }

    /// <summary>The rows of a plan as "id:start+tokens", a sampled one with "!".</summary>
    public static string Rows(StepPlan? plan) => plan is null
        ? "nothing"
        : string.Join(' ', plan.Sequences.Select(rows => $"{rows.SequenceId}:{rows.StartPosition}+{rows.Tokens}{(rows.Sample ? "!" : "")}"));
}
