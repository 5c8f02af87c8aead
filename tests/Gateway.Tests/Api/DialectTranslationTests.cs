using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using NUnit.Framework;
using TpServe.Gateway.Api;
using TpServe.Gateway.Api.Anthropic;
using TpServe.Gateway.Api.Ollama;
using TpServe.Gateway.Api.Responses;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Tests.Engine;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Tests.Api;

/// <summary>Tools, calls and their results of each dialect in the one form that all of them have inside.</summary>
public sealed class DialectTranslationTests
{
    private const string Schema = """{"type":"object","properties":{"city":{"type":"string"}}}""";

    private static readonly Tool s_tool = new() { Name = "weather", Description = "of a city", ParametersJsonSchema = Schema };

    private static T Read<T>(string json, JsonTypeInfo<T> type) => JsonSerializer.Deserialize(json, type)!;

    private static string Told(ConversationMessage message) =>
        $"{message.Role}|{string.Join(';', message.Content)}|{message.Reasoning}|{message.Name}|{message.ToolCallId}|{string.Join(';', message.ToolCalls.Select(call => $"{call.Id} {call.Name} {call.Arguments}"))}";

    [Test]
    public void Responses_Tools_AreTheProtos()
    {
        ChatRequest request = ResponsesTranslation.ToProto(Read(
            $$$"""{"tools":[{"type":"function","name":"weather","description":"of a city","parameters":{{{Schema}}},"strict":true}],"tool_choice":{"type":"function","name":"weather"}}""", ResponsesJson.Api.ResponsesBody));
        Assert.That(request.Tools.Single(), Is.EqualTo(new Tool(s_tool) { Strict = true }));
        Assert.That((request.ToolChoice.Mode, request.ToolChoice.Name), Is.EqualTo((ToolChoice.Types.Mode.Function, "weather")));
    }

    [TestCase("auto", ToolChoice.Types.Mode.Auto)]
    [TestCase("none", ToolChoice.Types.Mode.None)]
    [TestCase("required", ToolChoice.Types.Mode.Required)]
    public void Responses_ToolChoice_IsTheProtos(string word, ToolChoice.Types.Mode mode) =>
        Assert.That(ResponsesTranslation.ToProto(Read($$"""{"tool_choice":"{{word}}"}""", ResponsesJson.Api.ResponsesBody)).ToolChoice.Mode, Is.EqualTo(mode));

    [Test]
    public void Responses_Items_BecomeTurns()
    {
        ConversationBuilder conversation = new([]);
        InputReader input = new(conversation, "t");
        input.Read(Read(
            """
            {"input":[{"role":"user","content":"a"},
             {"type":"reasoning","id":"rs_1","summary":[],"content":[{"type":"reasoning_text","text":"hm"}]},
             {"type":"message","role":"assistant","content":[{"type":"output_text","text":"b","annotations":[]}]},
             {"type":"function_call","call_id":"c1","name":"f","arguments":"{\"x\":1}"},{"type":"function_call","call_id":"c2","name":"g","arguments":"{}"},
             {"type":"function_call_output","call_id":"c1","output":"one"},{"type":"function_call_output","call_id":"c2","output":[{"type":"input_text","text":"two"}]},
             {"type":"function_call","call_id":"c3","name":"f","arguments":"{}"}]}
            """, ResponsesJson.Api.ResponsesBody).Input);
        Assert.That(conversation.Messages.Select(Told), Is.EqualTo(new[] { "user|a||||", "assistant|b|hm|||c1 f {\"x\":1};c2 g {}", "tool|one||f|c1|", "tool|two||g|c2|", "assistant|||||c3 f {}" }));
        Assert.That(input.Items.Select(item => item["id"]!.ToString()), Is.EqualTo(new[] { "msg_tin0", "rs_1", "msg_tin2", "fc_tin3", "fc_tin4", "fco_tin5", "fco_tin6", "fc_tin7" }));
    }

    [Test]
    public void Messages_Tools_AreTheProtos()
    {
        ChatRequest request = MessagesTranslation.ToProto(Read(
            $$$"""{"tools":[{"name":"weather","description":"of a city","input_schema":{{{Schema}}},"cache_control":{"type":"ephemeral"}}],"tool_choice":{"type":"tool","name":"weather"}}""", MessagesJson.Api.MessagesBody));
        Assert.That(request.Tools.Single(), Is.EqualTo(s_tool));
        Assert.That((request.ToolChoice.Mode, request.ToolChoice.Name), Is.EqualTo((ToolChoice.Types.Mode.Function, "weather")));
    }

    [TestCase("auto", ToolChoice.Types.Mode.Auto)]
    [TestCase("any", ToolChoice.Types.Mode.Required)]
    [TestCase("none", ToolChoice.Types.Mode.None)]
    public void Messages_ToolChoice_IsTheProtos(string word, ToolChoice.Types.Mode mode) =>
        Assert.That(MessagesTranslation.ToProto(Read("{\"tool_choice\":{\"type\":\"" + word + "\"}}", MessagesJson.Api.MessagesBody)).ToolChoice.Mode, Is.EqualTo(mode));

    [Test]
    public void Messages_Blocks_BecomeTurns()
    {
        Conversation conversation = MessagesTranslation.Conversation(Read(
            """
            {"messages":[{"role":"user","content":"a"},
             {"role":"assistant","content":[{"type":"thinking","thinking":"hm","signature":""},{"type":"text","text":"b"},{"type":"tool_use","id":"c1","name":"f","input":{"x":1}},{"type":"tool_use","id":"c2","name":"g","input":{}}]},
             {"role":"user","content":[{"type":"tool_result","tool_use_id":"c1","content":"one"},{"type":"tool_result","tool_use_id":"c2","content":[{"type":"text","text":"two"}]},{"type":"text","text":"c"}]},
             {"role":"assistant","content":[{"type":"tool_use","id":"c3","name":"f","input":{}}]},{"role":"user","content":[{"type":"tool_result","tool_use_id":"c3"}]}]}
            """, MessagesJson.Api.MessagesBody));
        Assert.That(conversation.Messages.Select(Told), Is.EqualTo(new[]
        {
            "user|a||||", "assistant|b|hm|||c1 f {\"x\":1};c2 g {}", "tool|one||f|c1|", "tool|two||g|c2|", "user|c||||", "assistant|||||c3 f {}", "tool|||f|c3|",
        }));
        Assert.That(conversation.ContinueFinalMessage, Is.False);
    }

    [Test]
    public void Ollama_ToolsAndCalls_AreTheProtosAndTurns()
    {
        OllamaChatBody body = Read(
            $$$"""
            {"tools":[{"type":"function","function":{"name":"weather","description":"of a city","parameters": {{{Schema}}} } }],
             "messages":[{"role":"user","content":"a"},{"role":"assistant","content":"","thinking":"hm","tool_calls":[{"function":{"name":"weather","arguments":{"city":"x"} } }]},
              {"role":"tool","tool_name":"weather","content":"fine"}]}
            """, OllamaJson.Api.OllamaChatBody);
        Assert.That(OllamaTranslation.ToProto(body, TestModel.Model(), 128).Tools.Single(), Is.EqualTo(s_tool));
        Assert.That(OllamaTranslation.Conversation(body).Messages.Select(Told), Is.EqualTo(new[] { "user|a||||", "assistant||hm||| weather {\"city\":\"x\"}", "tool|fine||weather||" }));
    }
}
