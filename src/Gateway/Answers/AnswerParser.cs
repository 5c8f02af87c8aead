using System.Text;

namespace TpServe.Gateway.Answers;

/// <summary>Tells thoughts and calls from text by the marks of a family.</summary>
/// <remarks>
/// 1. Thoughts stand at the beginning, or go on from the prompt; white space next to their marks is no part of anything. 2. What follows is text until calls begin; white
/// space before calls is none. 3. A call is one as soon as its function is known to be one of the request's and its arguments have begun; what turns out
/// before that to be no call is text. Later faults end the call where it stands, and the rest is text.
/// </remarks>
/// <param name="reasoning">How thoughts are marked; null = none are told apart.</param>
/// <param name="beginsInside">The prompt ends in thoughts.</param>
/// <param name="format">How calls are written; null = none are told apart.</param>
/// <param name="tools">What can be called.</param>
/// <param name="hidden">Marks that are special tokens: never text.</param>
/// <param name="callId">Names the calls by index.</param>
internal sealed class AnswerParser(
    ReasoningMarks? reasoning, bool beginsInside, ToolFormat? format, ToolArguments tools, IReadOnlyList<Mark> hidden, Func<int, string> callId)
    : StreamedParser
{
    private static readonly Mark s_listBegin = "[", s_listEnd = "]";

    private readonly IReadOnlyList<Mark> _passedOver = [.. hidden, .. reasoning?.Around ?? []];
    private readonly HashSet<char> _begins =
        [.. hidden.Concat(reasoning?.Around ?? []).Concat(format is null ? [] : [format.Trigger, .. format.Before]).Where(mark => !mark.IsEmpty).Select(mark => mark.Words[0][0]), .. format is { IsMarked: false } ? "{[" : ""];
    private int _calls;
    private bool _called; // what the last body was

    /// <inheritdoc/>
    protected override IEnumerable<bool> Read()
    {
        if (reasoning is not null)
            foreach (bool wait in Thoughts(reasoning))
                yield return wait;
        bool hasText = false;
        while (true)
        {
            while (Waits)
                yield return true;
            if (IsOver)
                break;
            if (format is null && _passedOver.Count == 0)
            {
                StepAll();
                ReleaseText();
                continue;
            }
            if (AtSpace)
            {
                Step(); // held until it is known what follows
                continue;
            }
            if (!_begins.Contains(Next))
            {
                Step();
                ReleaseText();
                hasText = true;
                continue;
            }
            if (format is not null && (format.IsMarked || !hasText))
            {
                int before = _calls, held = Held;
                foreach (bool wait in Calls(format))
                    yield return wait;
                if (_calls > before)
                {
                    if (!_called && !string.IsNullOrWhiteSpace(HeldText(0)))
                        ReleaseShown(); // what came after the last call began as one does
                    continue;
                }
                if (Held != held) // it began as calls do
                {
                    ReleaseShown();
                    hasText = true;
                    continue;
                }
            }
            bool passed = false;
            foreach (Mark mark in _passedOver)
            {
                foreach (bool wait in Match(mark))
                    yield return wait;
                if (passed = Matched)
                    break;
            }
            if (passed)
            {
                Drop();
                continue;
            }
            Step();
            ReleaseText();
            hasText = true;
        }
        if (_calls > 0)
            Drop();
        else
            ReleaseText();
    }

    private IEnumerable<bool> Thoughts(ReasoningMarks marks)
    {
        if (!beginsInside)
        {
            foreach (bool wait in SkipSpace())
                yield return wait;
            foreach (bool wait in Match(marks.Open))
                yield return wait;
            if (!Matched)
            {
                Back(0);
                yield break;
            }
        }
        foreach (bool wait in SkipSpace())
            yield return wait;
        Drop();
        while (true)
        {
            while (Waits)
                yield return true;
            if (AtSpace)
            {
                Step(); // held: it is dropped where the thoughts end
                continue;
            }
            if (IsOver)
            {
                AddThought(0, int.MaxValue);
                ReleaseReasoning();
                yield break;
            }
            if (Next == marks.Close.Words[0][0])
            {
                foreach (bool wait in Match(marks.Close))
                    yield return wait;
                if (Matched)
                    break;
            }
            Step();
            ReleaseReasoning();
        }
        AddThought(0, Place);
        foreach (bool wait in SkipSpace())
            yield return wait;
        Drop();
    }

    // Calls from here on, as many as there are; where none begins, what was passed is held.
    private IEnumerable<bool> Calls(ToolFormat format)
    {
        int held = Held;
        foreach (Mark mark in format.Before)
        {
            foreach (bool wait in Match(mark))
                yield return wait;
            foreach (bool wait in SkipSpace())
                yield return wait;
        }
        if (!format.Begin.IsEmpty)
        {
            foreach (bool wait in Match(format.Begin))
                yield return wait;
            if (!Matched)
            {
                Back(held);
                yield break;
            }
        }
        int first = _calls;
        bool isList = false;
        if (format.Body is CallBody.Json)
        {
            foreach (bool wait in SkipSpace())
                yield return wait;
            if (format.CallBegin.IsEmpty)
            {
                foreach (bool wait in Match(s_listBegin))
                    yield return wait;
                isList = Matched;
            }
        }
        while (true)
        {
            // 1. One call.
            foreach (bool wait in SkipSpace())
                yield return wait;
            if (!format.CallBegin.IsEmpty)
            {
                foreach (bool wait in Match(format.CallBegin))
                    yield return wait;
                if (!Matched && _calls == first)
                    yield break;
                if (!Matched)
                    break;
            }
            foreach (bool wait in SkipSpace())
                yield return wait;
            foreach (bool wait in format.Body switch
            {
                CallBody.Json => Object(),
                CallBody.Named named => Named(named),
                CallBody.Tagged tagged => Tagged(tagged),
                _ => [],
            })
                yield return wait;
            if (!_called)
                yield break;

            // 2. What closes it, and what may stand between it and the next. White space that no call follows is dropped with the marks.
            foreach (Mark mark in (Mark[])[format.CallEnd, ",", ";"])
                if (!mark.IsEmpty)
                {
                    foreach (bool wait in SkipSpace())
                        yield return wait;
                    foreach (bool wait in Match(mark))
                        yield return wait;
                }
            foreach (bool wait in SkipSpace())
                yield return wait;
            Drop();
            if (isList)
            {
                foreach (bool wait in Match(s_listEnd))
                    yield return wait;
                if (Matched)
                    break;
            }
            if (IsOver)
                yield break;
            if (format.CallBegin.IsEmpty && Next != '{')
                break;
            if (!format.CallBegin.IsEmpty && format.End.IsEmpty)
                yield break; // another one is found as the first was
        }
        foreach (bool wait in SkipSpace())
            yield return wait;
        foreach (bool wait in Match(format.End))
            yield return wait;
        Drop();
    }

    // An object with name and arguments, in any order and with other members beside them.
    private IEnumerable<bool> Object()
    {
        _called = false;
        JsonScanner json = new();
        StringBuilder value = new();
        string? name = null, arguments = null;
        bool isNew = true, isText = false, isSaid = false;
        while (Waits)
            yield return true;
        if (IsOver || Next != '{')
            yield break;
        while (!json.IsDone)
        {
            while (Waits)
                yield return true;
            if (IsOver || !json.Take(Next))
                yield break;
            char taken = Next;
            Step();
            if (!Members.Contains(json.Key ?? "name"))
                yield break;
            bool isName = json.Key is "name" or "tool_name", isArguments = json.Key is "arguments" or "parameters";
            if (json.InValue && (isName || isArguments))
            {
                if (isNew && isArguments && isSaid)
                    yield break; // a second time
                if (isNew)
                    isText = taken == '"';
                if (isNew && isArguments && arguments is null && name is not null && taken == '{')
                    Begins(name);
                isNew = false;
                if (_called && isArguments && !isText)
                {
                    AddArguments(_calls - 1, [taken]);
                    Drop();
                }
                else
                    value.Append(taken);
            }
            if (!json.ValueIsOver || !(isName || isArguments))
                continue;
            if (isName && !_called)
            {
                name = isText ? ToolArguments.TextOf(value.ToString()) : null;
                if (name is null || !tools.Has(name))
                    yield break;
            }
            else if (isArguments && !_called)
            {
                arguments = isText ? ToolArguments.TextOf(value.ToString()) : value.ToString();
                if (arguments == "null")
                    arguments = "{}";
                if (arguments is null || !ToolArguments.IsObject(arguments))
                    yield break;
            }
            isSaid |= isArguments;
            isNew = true;
            value.Clear();
        }
        if (_called)
        {
            Drop();
            yield break;
        }
        if (name is null)
            yield break;
        Begins(name);
        AddArguments(_calls - 1, arguments ?? "{}");
        Drop();
    }

    private IEnumerable<bool> Named(CallBody.Named body)
    {
        _called = false;
        string? name = null;
        foreach (bool wait in Name(found => name = found))
            yield return wait;
        name = name!.StartsWith(body.Prefix, StringComparison.Ordinal) ? name[body.Prefix.Length..] : name;
        if (body.IsNumbered && name.LastIndexOf(':') is > 0 and int colon)
            name = name[..colon];
        if (!tools.Has(name))
            yield break;
        if (!body.BeforeId.IsEmpty)
        {
            foreach (bool wait in Match(body.BeforeId))
                yield return wait;
            if (Matched)
                foreach (bool wait in Name(_ => { }))
                    yield return wait;
        }
        foreach (bool wait in SkipSpace())
            yield return wait;
        foreach (bool wait in Match(body.AfterName))
            yield return wait;
        if (!Matched)
            yield break;
        foreach (bool wait in SkipSpace())
            yield return wait;
        if (IsOver || Next != '{')
            yield break;
        Begins(name);
        foreach (bool wait in JsonArguments(_calls - 1))
            yield return wait;
    }

    private IEnumerable<bool> Tagged(CallBody.Tagged body)
    {
        _called = false;
        string? name = null;
        foreach (bool wait in Name(found => name = found))
            yield return wait;
        if (!tools.Has(name!))
            yield break;
        foreach (bool wait in SkipSpace())
            yield return wait;
        foreach (bool wait in Match(body.AfterName))
            yield return wait;
        if (!Matched)
            yield break;
        Begins(name!);
        AddArguments(_calls - 1, "{");
        for (string comma = ""; ; comma = ", ")
        {
            foreach (bool wait in SkipSpace())
                yield return wait;
            foreach (bool wait in Match(body.ArgumentBegin))
                yield return wait;
            if (!Matched)
                break;
            Drop();
            string? key = null, value = null;
            foreach (bool wait in UpTo(body.AfterKey, found => key = found))
                yield return wait;
            foreach (bool wait in UpTo(body.ArgumentEnd, found => value = found))
                yield return wait;
            if (value is null)
                yield break; // the output ended within it
            AddArguments(_calls - 1, $"{comma}{ToolArguments.Quoted(key!.Trim())}: {tools.Value(name!, key!.Trim(), Unwrapped(value, body))}");
            Drop();
        }
        AddArguments(_calls - 1, "}");
    }

    // Line ends that belong to the marks.
    private static string Unwrapped(string value, CallBody.Tagged body)
    {
        if (body.AfterKey.Written.EndsWith('\n') && value.StartsWith('\n'))
            value = value[1..];
        return body.ArgumentEnd.Written.StartsWith('\n') && value.EndsWith('\n') ? value[..^1] : value;
    }

    // All up to a mark, and past it.
    private IEnumerable<bool> UpTo(Mark mark, Action<string> found)
    {
        int from = Held;
        while (true)
        {
            while (Waits)
                yield return true;
            if (IsOver)
                yield break;
            int end = Held;
            foreach (bool wait in Match(mark))
                yield return wait;
            if (Matched)
            {
                found(HeldText(from)[..(end - from)]);
                yield break;
            }
            Step();
        }
    }

    private IEnumerable<bool> Name(Action<string> found)
    {
        int from = Held;
        while (true)
        {
            while (Waits)
                yield return true;
            if (IsOver || !(char.IsAsciiLetterOrDigit(Next) || Next is '_' or '-' or '.' or ':'))
                break;
            Step();
        }
        found(HeldText(from));
    }

    private void Begins(string name)
    {
        AddCall(_calls, callId(_calls), name);
        _calls++;
        _called = true;
        Drop();
    }

    // Text that seemed to be a call; special tokens in it are no text.
    private void ReleaseShown()
    {
        string text = HeldText(0);
        Drop();
        foreach (Mark mark in hidden)
            text = text.Replace(mark.Written, "", StringComparison.Ordinal);
        AddText(text);
    }

    private static readonly HashSet<string> Members = ["name", "arguments", "parameters", "tool_name", "tool_call_id", "id", "type"];
}
