using System.Globalization;
using System.Text;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Answers;

/// <summary>Calls in the words of a family, for templates that do not write those of earlier turns themselves, and to show a model how.</summary>
internal static class CallWriter
{
    /// <summary>The text of some calls.</summary>
    public static string Write(ToolFormat format, IReadOnlyList<MessageToolCall> calls)
    {
        StringBuilder text = new(format.Begin.Written);
        bool isList = format.Body is CallBody.Json { IsList: true };
        text.Append(isList ? "[" : "");
        for (int i = 0; i < calls.Count; i++)
        {
            text.Append(i == 0 ? "" : isList ? ", " : format.Separator).Append(format.CallBegin);
            Body(text, format.Body, calls[i], i);
            text.Append(format.CallEnd);
        }
        return text.Append(isList ? "]" : "").Append(format.End).ToString();
    }

    private static void Body(StringBuilder text, CallBody body, MessageToolCall call, int index)
    {
        switch (body)
        {
            case CallBody.Json json:
                text.Append("{\"").Append(json.NameKey).Append("\": ").Append(ToolArguments.Quoted(call.Name)).Append(", \"").Append(json.ArgumentsKey).Append("\": ").Append(call.Arguments).Append('}');
                break;
            case CallBody.Named named:
                text.Append(named.Prefix).Append(call.Name).Append(named.IsNumbered ? string.Create(CultureInfo.InvariantCulture, $":{index}") : "").Append(named.AfterName).Append(call.Arguments);
                break;
            case CallBody.Tagged tagged:
                text.Append(call.Name).Append(tagged.AfterName);
                foreach ((string key, string value) in ToolArguments.Members(call.Arguments))
                    text.Append(tagged.ArgumentBegin).Append(key).Append(tagged.AfterKey).Append(value).Append(tagged.ArgumentEnd);
                break;
        }
    }
}
