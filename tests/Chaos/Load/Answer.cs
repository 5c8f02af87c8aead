using System.Text;

namespace TpServe.Chaos.Load;

/// <summary>One output as a client has it: what must be the same whatever happens to the server.</summary>
/// <param name="Text">All of it.</param>
/// <param name="TokenIds">Every token, once.</param>
/// <param name="Reports">Each token's logprob, rank and likeliest tokens in the words of the interface.</param>
/// <param name="End">Why and where it ended.</param>
internal sealed record OutputAnswer(string Text, IReadOnlyList<int> TokenIds, IReadOnlyList<string> Reports, string End);

/// <summary>The answer to a request.</summary>
/// <param name="Outputs">By index.</param>
/// <param name="Prompt">What is told of the prompt: its length, its logprobs.</param>
internal sealed record Answer(IReadOnlyList<OutputAnswer> Outputs, string Prompt)
{
    /// <summary>Where another answer is not this one; null where it is.</summary>
    public string? Difference(Answer other)
    {
        if (other.Outputs.Count != Outputs.Count)
            return $"{other.Outputs.Count} outputs, not {Outputs.Count}";
        if (other.Prompt != Prompt)
            return $"of the prompt it tells '{other.Prompt}', not '{Prompt}'";
        for (int i = 0; i < Outputs.Count; i++)
            if (Difference(Outputs[i], other.Outputs[i]) is { } difference)
                return $"output {i}: {difference}";
        return null;
    }

    /// <summary>Where what a client has seen of an answer is not its beginning; null where it is.</summary>
    public string? DifferenceOfBeginning(Answer seen)
    {
        for (int i = 0; i < Outputs.Count; i++)
        {
            OutputAnswer whole = Outputs[i], part = seen.Outputs[i];
            if (!whole.Text.StartsWith(part.Text, StringComparison.Ordinal))
                return $"output {i} begins '{part.Text}', not '{whole.Text}'";
            if (part.TokenIds.Count > whole.TokenIds.Count || !part.TokenIds.SequenceEqual(whole.TokenIds.Take(part.TokenIds.Count)))
                return $"output {i} begins with tokens {string.Join(' ', part.TokenIds)}, not {string.Join(' ', whole.TokenIds)}";
        }
        return null;
    }

    private static string? Difference(OutputAnswer expected, OutputAnswer actual)
    {
        if (!actual.TokenIds.SequenceEqual(expected.TokenIds))
            return $"tokens {string.Join(' ', actual.TokenIds)}, not {string.Join(' ', expected.TokenIds)}";
        if (actual.Text != expected.Text)
            return $"text '{actual.Text}', not '{expected.Text}'";
        if (actual.End != expected.End)
            return $"ended by {actual.End}, not {expected.End}";
        int token = Enumerable.Range(0, expected.Reports.Count).FirstOrDefault(at => at >= actual.Reports.Count || actual.Reports[at] != expected.Reports[at], -1);
        if (token >= 0)
            return $"token {token} is reported as {(token < actual.Reports.Count ? actual.Reports[token] : "nothing")}, not {expected.Reports[token]}";
        return actual.Reports.Count == expected.Reports.Count ? null : $"{actual.Reports.Count} reports, not {expected.Reports.Count}";
    }
}

/// <summary>Puts an answer together from the events of its stream, and watches that they come in good order.</summary>
/// <param name="outputs">How many outputs were asked for.</param>
internal sealed class Transcript(int outputs)
{
    private readonly StringBuilder[] _texts = [.. Enumerable.Range(0, outputs).Select(_ => new StringBuilder())];
    private readonly List<int>[] _ids = [.. Enumerable.Range(0, outputs).Select(_ => new List<int>())];
    private readonly List<string>[] _reports = [.. Enumerable.Range(0, outputs).Select(_ => new List<string>())];
    private readonly string?[] _ends = new string?[outputs];

    /// <summary>Number of the last event.</summary>
    public long Seq { get; private set; }

    /// <summary>What is told of the prompt.</summary>
    public string Prompt { get; set; } = "";

    /// <summary>What was out of order first; null where nothing was.</summary>
    public string? Disorder { get; private set; }

    /// <summary>Every output has ended.</summary>
    public bool IsWhole => _ends.All(end => end is not null);

    /// <summary>An event came.</summary>
    public void Count(long seq)
    {
        if (seq != Seq + 1)
            Disorder ??= $"event {seq} came after event {Seq}";
        Seq = seq;
    }

    /// <summary>More of an output.</summary>
    public void Add(int output, string text, IEnumerable<int> ids, IEnumerable<string> reports)
    {
        if (_ends[output] is not null)
            Disorder ??= $"output {output} goes on after its end";
        _texts[output].Append(text);
        _ids[output].AddRange(ids);
        _reports[output].AddRange(reports);
    }

    /// <summary>An output has ended.</summary>
    public void End(int output, string end)
    {
        if (_ends[output] is not null)
            Disorder ??= $"output {output} ended twice";
        _ends[output] = end;
    }

    /// <summary>What has come so far.</summary>
    public Answer Answer() => new([.. Enumerable.Range(0, outputs).Select(i => new OutputAnswer(_texts[i].ToString(), _ids[i], _reports[i], _ends[i] ?? ""))], Prompt);
}
