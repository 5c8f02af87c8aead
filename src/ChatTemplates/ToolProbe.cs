using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates;

/// <summary>Finds what a template makes of tools, of calls and of their results, by names that it cannot have of its own.</summary>
/// <param name="template">The template.</param>
/// <param name="bosToken">As in <see cref="ChatTemplateInput"/>.</param>
/// <param name="eosToken">As in <see cref="ChatTemplateInput"/>.</param>
/// <param name="userContent">A user's text in the shape that the template reads.</param>
internal sealed class ToolProbe(ChatTemplate template, string? bosToken, string? eosToken, Func<string, Value> userContent)
{
    private const string Function = "probe_function", OtherFunction = "other_function", Argument = "probe_argument", Given = "Probe3Value", Result = "Probe4Result", LongId = "call_abcdefghijklmnopqrstuvwx", ShortId = "aB3dE6gH9";

    /// <summary>Renders the probes and says what they show.</summary>
    public void Run(TemplateTraits traits)
    {
        Value user = Map(("role", Text("user")), ("content", userContent("a")));
        Value system = Map(("role", Text("system")), ("content", traits.Content("system", "a")));
        traits.ShowsTools = Render([user], true)?.Contains(Function, StringComparison.Ordinal) == true || Render([system, user], true)?.Contains(Function, StringComparison.Ordinal) == true;
        foreach (bool withResult in (bool[])[true, false])
            foreach (bool shortIds in (bool[])[false, true])
                foreach (bool textArguments in (bool[])[false, true])
                    foreach (bool noContent in (bool[])[false, true])
                    {
                        CallShape shape = new(noContent, textArguments, shortIds);
                        string? prompt = Render(withResult ? [user, Call(shape), Answer(shape)] : [user, Call(shape)], traits.ShowsTools);
                        traits.ShowsResults |= withResult && prompt?.Contains(Result, StringComparison.Ordinal) == true;
                        if (traits.Calls is not null || !Reads(prompt))
                            continue;
                        traits.Calls = shape;
                        traits.ShowsSeveralCalls = Render(withResult ? [user, Call(shape, OtherFunction), Answer(shape)] : [user, Call(shape, OtherFunction)], traits.ShowsTools)?.Contains(OtherFunction, StringComparison.Ordinal) == true;
                    }
    }

    // An object that is printed as Python shows it, or a text that is quoted once more, is not what the model was trained on.
    private static bool Reads(string? prompt)
    {
        int at = prompt?.LastIndexOf(Argument, StringComparison.Ordinal) ?? -1;
        return at > 0 && prompt!.Contains(Given, StringComparison.Ordinal) && prompt.LastIndexOf(Function, at, StringComparison.Ordinal) >= 0
            && prompt[at - 1] != '\'' && !(at > 1 && prompt[(at - 2)..at] == "\\\"");
    }

    private string? Render(Value[] messages, bool withTools)
    {
        try
        {
            return template.Render(
                new ChatTemplateInput
                {
                    Messages = RequestValue.List(messages),
                    Tools = withTools ? RequestValue.List([Tool()]) : null,
                    BosToken = bosToken,
                    EosToken = eosToken,
                    Now = DateTimeOffset.UnixEpoch,
                },
                RenderLimits.Default, CancellationToken.None).Text;
        }
        catch (ChatTemplateException)
        {
            return null; // it does not read this
        }
    }

    private static Value Call(CallShape shape, string? other = null)
    {
        Value arguments = shape.TextArguments ? Text($"{{\"{Argument}\": \"{Given}\"}}") : Map((Argument, Text(Given)));
        IEnumerable<Value> calls = ((string?[])[Function, other]).OfType<string>().Select(name => Map(
            ("id", Text(shape.ShortIds ? ShortId : LongId)), ("type", Text("function")), ("function", Map(("name", Text(name)), ("arguments", arguments)))));
        return Map(("role", Text("assistant")), ("content", shape.NoContent ? RequestValue.None : Text("")), ("tool_calls", RequestValue.List(calls)));
    }

    private static Value Answer(CallShape shape) =>
        Map(("role", Text("tool")), ("tool_call_id", Text(shape.ShortIds ? ShortId : LongId)), ("name", Text(Function)), ("content", Text(Result)));

    private static Value Tool() => Map(
        ("type", Text("function")),
        ("function", Map(
            ("name", Text(Function)),
            ("description", Text("d")),
            ("parameters", Map(("type", Text("object")), ("properties", Map(("p", Map(("type", Text("string")), ("description", Text("d")))))), ("required", RequestValue.List([Text("p")])))))));

    private static Value Text(string text) => RequestValue.Of(text);

    private static Value Map(params (string Key, Value Value)[] entries) => RequestValue.Map(entries.Select(entry => KeyValuePair.Create(entry.Key, entry.Value)));
}
