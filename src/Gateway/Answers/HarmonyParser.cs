namespace TpServe.Gateway.Answers;

/// <summary>gpt-oss's channels: an output is a row of messages, each a header and a body.</summary>
/// <remarks>
/// A header names the channel and, after "to=", who is spoken to: a function of the request makes the message a call; what goes to the channel analysis is
/// reasoning, all else is text. A message to somebody unknown is text.
/// Source   OpenAI's description of the harmony response format.
/// </remarks>
/// <param name="tools">What can be called; none where the request has none.</param>
/// <param name="callId">Names the calls by index.</param>
internal sealed class HarmonyParser(ToolArguments tools, Func<int, string> callId) : StreamedParser
{
    private const string Functions = "functions.";
    private const int MostHeader = 512;

    private static readonly Mark s_message = "<|message|>";
    private static readonly Mark[] s_ends = ["<|end|>", "<|call|>", "<|return|>", "<|start|>", "<|channel|>"];

    private int _calls;
    private bool _bodyOver;

    /// <inheritdoc/>
    protected override IEnumerable<bool> Read()
    {
        while (true)
        {
            // 1. The header: from the mark that begins a message, or from the end of the prompt, to the mark of its body.
            int from = Held, place = Place;
            string? header = null;
            foreach (bool wait in SkipSpace())
                yield return wait;
            bool begins = IsOver || Next is '<' or 't'; // a mark, or "to="
            while (header is null && begins)
            {
                while (Waits)
                    yield return true;
                if (IsOver || Held - from > MostHeader)
                    break;
                int end = Held;
                foreach (bool wait in Match(s_message))
                    yield return wait;
                if (Matched)
                    header = HeldText(from)[..(end - from)];
                else
                    Step();
            }
            if (header is null)
            {
                ReleaseText(); // no message at all
                while (!IsOver)
                {
                    yield return true;
                    StepAll();
                    ReleaseText();
                }
                yield break;
            }
            Drop();

            // 2. Its body.
            string channel = Word(header, "<|channel|>") ?? "final", recipient = Word(header, "to=") ?? "";
            string name = recipient.StartsWith(Functions, StringComparison.Ordinal) ? recipient[Functions.Length..] : recipient;
            bool isCall = name.Length > 0 && tools.Has(name);
            if (isCall)
                foreach (bool wait in Call(name))
                    yield return wait;
            _bodyOver = false;
            while (!_bodyOver)
            {
                foreach (bool wait in BodyPiece(isReasoning: channel == "analysis" && !isCall, isCall))
                    yield return wait;
                if (IsOver)
                    break;
            }
            if (channel == "analysis" && !isCall)
                AddThought(place, _bodyOver ? Place : int.MaxValue);
            if (!_bodyOver)
                yield break;
        }
    }

    private IEnumerable<bool> Call(string name)
    {
        foreach (bool wait in SkipSpace())
            yield return wait;
        if (IsOver || Next != '{')
            yield break;
        Drop();
        AddCall(_calls, callId(_calls), name);
        _calls++;
        foreach (bool wait in JsonArguments(_calls - 1))
            yield return wait;
    }

    // One character of it, or the mark that ends it: of those that begin the next message, the mark is part of its header.
    private IEnumerable<bool> BodyPiece(bool isReasoning, bool isCall)
    {
        while (Waits)
            yield return true;
        if (IsOver)
            yield break;
        foreach (Mark mark in Next == '<' ? s_ends : [])
        {
            int held = Held;
            foreach (bool wait in Match(mark))
                yield return wait;
            if (!Matched)
                continue;
            if (mark.Written is "<|start|>" or "<|channel|>")
                Back(held);
            Drop();
            _bodyOver = true;
            yield break;
        }
        bool isSpace = AtSpace;
        Step();
        if (isReasoning)
            ReleaseReasoning();
        else if (isCall && isSpace)
            Drop();
        else
            ReleaseText();
    }

    private static string? Word(string header, string after)
    {
        int at = header.IndexOf(after, StringComparison.Ordinal);
        if (at < 0)
            return null;
        int start = at + after.Length, end = start;
        while (end < header.Length && !char.IsWhiteSpace(header[end]) && header[end] != '<')
            end++;
        return header[start..end];
    }
}
