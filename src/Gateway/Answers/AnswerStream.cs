using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Answers;

/// <summary>A request's events with reasoning and calls told from the text: a function of the events alone, so that a stream that is resumed reads the same.</summary>
public static class AnswerStream
{
    /// <summary>The events as the API tells them; those of a request whose answer is all text pass through.</summary>
    public static IAsyncEnumerable<GenerationEvent> Of(ValidatedRequest request, IAsyncEnumerable<GenerationEvent> events) =>
        request.Answer is { } begin ? ToldApartAsync([.. Enumerable.Range(0, request.Outputs).Select(begin)], events) : events;

    private static async IAsyncEnumerable<GenerationEvent> ToldApartAsync(IAnswerParser[] parsers, IAsyncEnumerable<GenerationEvent> events)
    {
        bool[] called = new bool[parsers.Length];
        int thought = 0;
        await foreach (GenerationEvent happened in events)
            switch (happened)
            {
                case DeltaEvent delta:
                    AnswerPiece piece = parsers[delta.OutputIndex].Take(delta.Text);
                    called[delta.OutputIndex] |= piece.ToolCalls.Count > 0;
                    if (!piece.IsEmpty || delta.Tokens.Count > 0 || delta.PromptTokens.Count > 0)
                        yield return delta with { Text = piece.Text, Reasoning = piece.Reasoning, ToolCalls = piece.ToolCalls };
                    break;
                case FinishedEvent finished:
                    AnswerPiece rest = parsers[finished.OutputIndex].End();
                    called[finished.OutputIndex] |= rest.ToolCalls.Count > 0;
                    if (!rest.IsEmpty)
                        yield return new DeltaEvent(finished.OutputIndex, rest.Text, [], []) { Reasoning = rest.Reasoning, ToolCalls = rest.ToolCalls };
                    thought += finished.TokenStarts.Count(parsers[finished.OutputIndex].IsThought);
                    FinishedEvent told = finished.Totals is { } totals ? finished with { Totals = totals with { ReasoningTokens = thought } } : finished;
                    yield return called[finished.OutputIndex] && finished.Reason == EndReason.Stop ? told with { Reason = EndReason.ToolCalls } : told;
                    break;
                default:
                    yield return happened;
                    break;
            }
    }
}

/// <summary>Tells one output's reasoning and calls from its text as it comes.</summary>
/// <remarks>The sum of the pieces does not depend on how the text was cut.</remarks>
public interface IAnswerParser
{
    /// <summary>Takes the next text; what may become a mark of the model's format is held back.</summary>
    AnswerPiece Take(string text);

    /// <summary>The output has ended: what was held back.</summary>
    AnswerPiece End();

    /// <summary>Whether the character at a place of the text that was taken is of the model's thoughts, their marks included.</summary>
    bool IsThought(int place);
}

/// <summary>What a piece of output turned out to be.</summary>
/// <param name="Text">Of the answer itself.</param>
/// <param name="Reasoning">Of what the model thinks before it.</param>
/// <param name="ToolCalls">Of its calls.</param>
public readonly record struct AnswerPiece(string Text, string Reasoning, IReadOnlyList<ToolCallPiece> ToolCalls)
{
    /// <summary>Nothing is known yet.</summary>
    public static AnswerPiece None { get; } = new("", "", []);

    /// <summary>There is nothing to tell.</summary>
    public bool IsEmpty => Text.Length == 0 && Reasoning.Length == 0 && ToolCalls.Count == 0;
}
