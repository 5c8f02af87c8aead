using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Evaluation;

/// <summary>The variables a template sees of a request.</summary>
internal sealed class RequestVariables(RenderState state, ChatTemplateInput input)
{
    /// <summary>What transformers appends to the last message so as to find its end in the rendered prompt.</summary>
    public const string ContinueTag = "CONTINUE_FINAL_MESSAGE_TAG ";

    private static readonly string[] s_reasoningNames = ["reasoning_content", "thinking", "reasoning"];

    /// <summary>Sets all variables of the request.</summary>
    public void Define(Scope scope)
    {
        if (input.Messages is not ListValue list)
            throw Fault.Input($"messages is {input.Messages.TypeName}, not an array.");
        state.ChargeElements(list.Items.Length);
        Value[] messages = [.. list.Items.Select(Message)];
        if (input.ContinueFinalMessage)
        {
            if (input.AddGenerationPrompt)
                throw Fault.Input("continue_final_message and add_generation_prompt exclude each other.");
            if (messages.Length == 0)
                throw Fault.Input("There is no message to continue.");
            messages[^1] = Continued(messages[^1]);
        }
        scope.Set("messages", new ListValue(messages));
        scope.Set("tools", input.Tools ?? NoneValue.Instance);
        scope.Set("documents", input.Documents ?? NoneValue.Instance);
        scope.Set("add_generation_prompt", BoolValue.Of(input.AddGenerationPrompt));
        if (input.BosToken is { } bos)
            scope.Set("bos_token", StringValue.Template(bos));
        if (input.EosToken is { } eos)
            scope.Set("eos_token", StringValue.Template(eos));
        foreach ((string name, Value value) in input.Extra)
            scope.Set(name, value);
    }

    /// <summary>A message, its role trusted if the caller says so, its reasoning under every name templates read it by.</summary>
    private Value Message(Value given)
    {
        if (given is not DictValue message)
            return given;
        Value? reasoning = s_reasoningNames.Select(name => message.Get(state, name)).FirstOrDefault(static value => value is not null);
        bool trusted = message.Get(state, "role") is StringValue role && input.TrustedRoles.Contains(role.Text);
        if (reasoning is null && !trusted)
            return message;

        DictValue completed = new();
        if (reasoning is not null && message.Get(state, "thinking") is null)
            completed.Set(state, StringValue.Template("thinking"), reasoning);
        foreach ((Value key, Value value) in message.Entries)
        {
            bool isRole = trusted && key is StringValue { Text: "role" };
            completed.Set(state, key, isRole ? StringValue.Template(((StringValue)value).Text) : value);
        }
        if (reasoning is not null && message.Get(state, "reasoning_content") is null)
            completed.Set(state, StringValue.Template("reasoning_content"), reasoning);
        return completed;
    }

    /// <summary>The last message with the tag after its content, or after the last text of a list of parts.</summary>
    private DictValue Continued(Value value)
    {
        if (value is not DictValue message || message.Get(state, "content") is not { } content)
            throw Fault.Input("The message to continue has no content.");
        StringValue tag = StringValue.Data(ContinueTag);
        if (content is StringValue text)
            return With(message, "content", Arithmetic.Concat(state, text, tag));
        if (content is not ListValue list)
            throw Fault.Input($"The content of the message to continue is {content.TypeName}, not text.");
        Value[] parts = [.. list.Items];
        int last = Array.FindLastIndex(parts, part => part is DictValue dict && dict.Get(state, "text") is StringValue);
        if (last < 0)
            throw Fault.Input("The message to continue has no text.");
        DictValue part = (DictValue)parts[last];
        parts[last] = With(part, "text", Arithmetic.Concat(state, (StringValue)part.Get(state, "text")!, tag));
        return With(message, "content", new ListValue(parts));
    }

    private DictValue With(DictValue dict, string key, Value value)
    {
        DictValue copy = new();
        foreach ((Value name, Value old) in dict.Entries)
            copy.Set(state, name, old);
        copy.Set(state, StringValue.Template(key), value);
        return copy;
    }
}
