using System.Globalization;
using System.Numerics;
using System.Text.Json;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Evaluation;

/// <summary>Turns a request's JSON into the variables a template sees; every text in it counts as the request's data.</summary>
internal sealed class RequestVariables(RenderState state, ChatTemplateInput input)
{
    /// <summary>What transformers appends to the last message so as to find its end in the rendered prompt.</summary>
    public const string ContinueTag = "CONTINUE_FINAL_MESSAGE_TAG ";

    private static readonly string[] s_reasoningNames = ["reasoning_content", "thinking", "reasoning"];

    /// <summary>Sets all variables of the request.</summary>
    public void Define(Scope scope)
    {
        if (input.Messages.ValueKind != JsonValueKind.Array)
            throw Fault.Input($"messages is {input.Messages.ValueKind}, not an array.");
        Value[] messages = [.. input.Messages.EnumerateArray().Select(Message)];
        if (input.ContinueFinalMessage)
        {
            if (input.AddGenerationPrompt)
                throw Fault.Input("continue_final_message and add_generation_prompt exclude each other.");
            if (messages.Length == 0)
                throw Fault.Input("There is no message to continue.");
            messages[^1] = Continued(messages[^1]);
        }
        scope.Set("messages", new ListValue(messages));
        scope.Set("tools", input.Tools is { } tools ? Convert(tools) : NoneValue.Instance);
        scope.Set("documents", input.Documents is { } documents ? Convert(documents) : NoneValue.Instance);
        scope.Set("add_generation_prompt", BoolValue.Of(input.AddGenerationPrompt));
        if (input.BosToken is { } bos)
            scope.Set("bos_token", StringValue.Template(bos));
        if (input.EosToken is { } eos)
            scope.Set("eos_token", StringValue.Template(eos));
        foreach ((string name, JsonElement value) in input.Extra)
            scope.Set(name, Convert(value));
    }

    /// <summary>A message, its role trusted if the caller says so, its reasoning under every name templates read it by.</summary>
    private Value Message(JsonElement element)
    {
        Value converted = Convert(element);
        if (converted is not DictValue message)
            return converted;
        Value? reasoning = s_reasoningNames.Select(message.Get).FirstOrDefault(static value => value is not null);
        bool trusted = message.Get("role") is StringValue role && input.TrustedRoles.Contains(role.Text);
        if (reasoning is null && !trusted)
            return message;

        DictValue completed = new(state);
        if (reasoning is not null && message.Get("thinking") is null)
            completed.Set(StringValue.Template("thinking"), reasoning);
        foreach ((Value key, Value value) in message.Entries)
        {
            bool isRole = trusted && key is StringValue { Text: "role" };
            completed.Set(key, isRole ? StringValue.Template(((StringValue)value).Text) : value);
        }
        if (reasoning is not null && message.Get("reasoning_content") is null)
            completed.Set(StringValue.Template("reasoning_content"), reasoning);
        return completed;
    }

    /// <summary>The last message with the tag after its content, or after the last text of a list of parts.</summary>
    private DictValue Continued(Value value)
    {
        if (value is not DictValue message || message.Get("content") is not { } content)
            throw Fault.Input("The message to continue has no content.");
        StringValue tag = StringValue.Data(ContinueTag);
        if (content is StringValue text)
            return With(message, "content", Arithmetic.Concat(state, text, tag));
        if (content is not ListValue list)
            throw Fault.Input($"The content of the message to continue is {content.TypeName}, not text.");
        Value[] parts = [.. list.Items];
        int last = Array.FindLastIndex(parts, static part => part is DictValue dict && dict.Get("text") is StringValue);
        if (last < 0)
            throw Fault.Input("The message to continue has no text.");
        DictValue part = (DictValue)parts[last];
        parts[last] = With(part, "text", Arithmetic.Concat(state, (StringValue)part.Get("text")!, tag));
        return With(message, "content", new ListValue(parts));
    }

    private DictValue With(DictValue dict, string key, Value value)
    {
        DictValue copy = new(state);
        foreach ((Value name, Value old) in dict.Entries)
            copy.Set(name, old);
        copy.Set(StringValue.Template(key), value);
        return copy;
    }

    private Value Convert(JsonElement element)
    {
        state.Enter();
        state.Step();
        Value value = element.ValueKind switch
        {
            JsonValueKind.Object => ConvertObject(element),
            JsonValueKind.Array => new ListValue([.. element.EnumerateArray().Select(Convert)]),
            JsonValueKind.String => Text(() => element.GetString()!),
            JsonValueKind.Number => Number(element.GetRawText()),
            JsonValueKind.True => BoolValue.True,
            JsonValueKind.False => BoolValue.False,
            _ => NoneValue.Instance,
        };
        state.Leave();
        return value;
    }

    private DictValue ConvertObject(JsonElement element)
    {
        DictValue dict = new(state);
        foreach (JsonProperty property in element.EnumerateObject())
            dict.Set(Text(() => property.Name), Convert(property.Value));
        return dict;
    }

    /// <summary>JSON can escape half of a surrogate pair, which is no text.</summary>
    private StringValue Text(Func<string> read)
    {
        try
        {
            string text = read();
            state.ChargeText(0, text.Length);
            return StringValue.Data(text);
        }
        catch (InvalidOperationException e)
        {
            throw new ChatTemplateException(ChatTemplateErrorReason.Input, "The request holds text that is not valid Unicode.", null, e);
        }
    }

    private static Value Number(string text)
    {
        if (text.AsSpan().IndexOfAny(".eE") >= 0)
            return new FloatValue(double.Parse(text, CultureInfo.InvariantCulture));
        return PythonNumbers.TryParseInteger(text, 10, out BigInteger integer)
            ? new IntValue(integer)
            : throw Fault.Input($"A number of {text.Length} digits is above the limit.");
    }
}
