using System.Text;
using TpServe.ChatTemplates;
using TpServe.ChatTemplates.Values;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Answers;

/// <summary>A conversation about tools in the shape that the model's template reads: what it does not show by itself is written into the messages.</summary>
/// <remarks>
/// Tools that the template passes over are told in the system message, with how a call is written. Calls of earlier turns become content of the assistant's,
/// results become messages of the user, where the template would drop them.
/// </remarks>
internal static class ToolPrompt
{
    /// <summary>The messages, and the tools where the template takes them.</summary>
    public static (IReadOnlyList<ConversationMessage> Messages, Value? Tools) Lay(Conversation chat, AnswerFormat answers)
    {
        List<ConversationMessage> messages = History(chat, answers);
        if (chat.Tools.Count == 0)
            return (messages, null);
        if (answers.TemplateTakesTools)
            return (messages, RequestValue.List(chat.Tools.Select(tool => tool.Shown())));
        Instruct(messages, Instructions(chat.Tools, answers.Tools), answers.Traits);
        return (messages, null);
    }

    private static List<ConversationMessage> History(Conversation chat, AnswerFormat answers)
    {
        // Where the model is told of tools in words, calls and results are words too; without tools they are whatever the template makes of them.
        bool inWords = answers.IsGeneric && chat.Tools.Count > 0;
        CallShape? shape = inWords ? null : answers.Traits.Calls;
        bool showsResults = !inWords && answers.Traits.ShowsResults;
        Dictionary<string, string> names = [];
        List<ConversationMessage> laid = [];
        bool afterResult = false;
        foreach (ConversationMessage message in shape is null || answers.Traits.ShowsSeveralCalls ? chat.Messages : OneCallEach(chat.Messages))
        {
            foreach (MessageToolCall call in message.ToolCalls)
                if (call.Id is not null)
                    names[call.Id] = call.Name;
            bool isResult = message.Role == "tool";
            string? name = message.Name ?? (isResult && message.ToolCallId is not null ? names.GetValueOrDefault(message.ToolCallId) : null);
            if (message.ToolCalls.Count > 0 && !(shape is { NoContent: false } || (shape is not null && message.IsEmpty)))
                laid.Add(Said(message, string.Join("\n", message.Content.Append(CallWriter.Write(answers.Tools, message.ToolCalls)).Where(text => text.Length > 0))) with { ToolCalls = [] });
            else if (!isResult || showsResults)
                laid.Add(isResult ? message with { Name = name } : message);
            else
            {
                string text = $"Result of {name ?? "the call"}:\n{string.Concat(message.Content)}";
                if (afterResult)
                    laid[^1] = Said(laid[^1], laid[^1].Content[0] + "\n\n" + text); // two messages of the user in a row are more than many templates take
                else
                    laid.Add(new ConversationMessage("user", [text], null, null, null));
            }
            afterResult = isResult && !showsResults;
        }
        return laid;
    }

    // Several calls of one message become as many messages, each with its own result after it.
    private static IEnumerable<ConversationMessage> OneCallEach(IReadOnlyList<ConversationMessage> messages)
    {
        for (int i = 0; i < messages.Count; i++)
        {
            ConversationMessage message = messages[i];
            if (message.ToolCalls.Count < 2)
            {
                yield return message;
                continue;
            }
            List<ConversationMessage> results = [.. messages.Skip(i + 1).TakeWhile(next => next.Role == "tool")];
            i += results.Count;
            foreach ((int index, MessageToolCall call) in message.ToolCalls.Index())
            {
                yield return (index == 0 ? message : Said(message, "") with { Reasoning = null }) with { ToolCalls = [call] };
                foreach (ConversationMessage result in results.Where(result => result.ToolCallId == call.Id && call.Id is not null))
                    yield return result;
            }
            foreach (ConversationMessage result in results.Where(result => result.ToolCallId is null || message.ToolCalls.All(call => call.Id != result.ToolCallId)))
                yield return result;
        }
    }

    private static void Instruct(List<ConversationMessage> messages, string text, TemplateTraits traits)
    {
        int at = messages.FindIndex(message => message.Role is "system" or "developer");
        if (at >= 0)
            messages[at] = Said(messages[at], $"{string.Concat(messages[at].Content)}\n\n{text}");
        else if (traits.ContentOf("system") is not { Text: false, Parts: false })
            messages.Insert(0, new ConversationMessage("system", [text], null, null, null));
        else if (messages.FindIndex(message => message.Role == "user") is >= 0 and int user)
            messages[user] = Said(messages[user], $"{text}\n\n{string.Concat(messages[user].Content)}");
        else
            messages.Insert(0, new ConversationMessage("user", [text], null, null, null));
    }

    private static string Instructions(IReadOnlyList<ToolDefinition> tools, ToolFormat format)
    {
        StringBuilder text = new("You can call functions. These are available, each with the JSON Schema of its arguments:\n");
        foreach (ToolDefinition tool in tools)
        {
            text.Append("{\"name\": ").Append(ToolArguments.Quoted(tool.Name));
            if (tool.Description is not null)
                text.Append(", \"description\": ").Append(ToolArguments.Quoted(tool.Description));
            text.Append(", \"parameters\": ").Append(tool.ArgumentsSchema).Append("}\n");
        }
        return text
            .Append("To call functions, answer with nothing but the calls, each in this form:\n")
            .Append(CallWriter.Write(format, [new MessageToolCall(null, "function_name", """{"argument": "value"}""")]))
            .Append("\nWhere no function helps, answer in words.")
            .ToString();
    }

    private static ConversationMessage Said(ConversationMessage message, string text) => message with { Content = [text], IsList = false };
}
