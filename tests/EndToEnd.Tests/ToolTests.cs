using System.Net;
using System.Net.Http.Json;
using System.Text.Json;
using Grpc.Core;
using Grpc.Net.Client;
using NUnit.Framework;
using TpServe.Protos.V1;

namespace TpServe.EndToEnd.Tests;

/// <summary>Calls that are required, of a model that was never trained to make any: they parse, and their arguments follow the schema.</summary>
[Category("MultiProcess"), NonParallelizable]
public sealed class ToolTests
{
    private const string Schema =
        """{"type":"object","properties":{"city":{"type":"string","minLength":1,"maxLength":24},"unit":{"enum":["celsius","fahrenheit"]},"days":{"type":"integer","minimum":1,"maximum":7}},"required":["city","unit","days"],"additionalProperties":false}""";

    private ServerProcess? _server;
    private GrpcChannel? _channel;

    [OneTimeSetUp]
    public async Task Start()
    {
        _server = await ServerProcess.StartAsync();
        _channel = GrpcChannel.ForAddress($"http://127.0.0.1:{_server.GrpcPort}");
    }

    [OneTimeTearDown]
    public async Task Stop()
    {
        _channel?.Dispose();
        if (_server is not null)
            await _server.DisposeAsync();
    }

    [TestCase("\"required\"", "false")]
    [TestCase("""{"type":"function","function":{"name":"get_forecast"}}""", "true")]
    public async Task Http_CallThatIsRequired_FollowsItsSchema(string choice, string parallel)
    {
        for (int seed = 1; seed <= 3; seed++)
        {
            string json = $$$"""
                {"messages":[{"role":"user","content":"What will the weather be in Paris on the next three days?"}],"seed":{{{seed}}},"max_tokens":160,"tool_choice":{{{choice}}},"parallel_tool_calls":{{{parallel}}},
                 "tools":[{"type":"function","function":{"name":"get_forecast","description":"The weather of the next days in a city.","parameters":{{{Schema}}}}}]}
                """;
            using HttpResponseMessage response = await _server!.Http.PostAsync("/v1/chat/completions", new StringContent(json, null, "application/json"));
            JsonElement body = await response.Content.ReadFromJsonAsync<JsonElement>();
            Assert.That(response.StatusCode, Is.EqualTo(HttpStatusCode.OK), body.GetRawText());
            JsonElement answer = body.GetProperty("choices")[0];
            Assert.That(answer.GetProperty("finish_reason").GetString(), Is.EqualTo("tool_calls"), body.GetRawText());
            JsonElement call = answer.GetProperty("message").GetProperty("tool_calls").EnumerateArray().Single().GetProperty("function");
            Assert.That(call.GetProperty("name").GetString(), Is.EqualTo("get_forecast"));
            AssertFits(call.GetProperty("arguments").GetString()!);
            TestContext.Out.WriteLine(answer.GetProperty("message").GetRawText());
        }
    }

    [TestCase(ToolChoice.Types.Mode.Required)]
    [TestCase(ToolChoice.Types.Mode.Function)]
    public async Task Grpc_CallThatIsRequired_FollowsItsSchema(ToolChoice.Types.Mode mode)
    {
        ChatRequest request = new()
        {
            Messages = { new ChatMessage { Role = ChatRole.User, Content = "What will the weather be in Paris on the next three days?" } },
            Tools = { new Tool { Name = "get_forecast", Description = "The weather of the next days in a city.", ParametersJsonSchema = Schema } },
            ToolChoice = new ToolChoice { Mode = mode, Name = "get_forecast" },
            ParallelToolCalls = false,
            Sampling = new SamplingOptions { Seed = 5 },
            Stopping = new StoppingOptions { MaxTokens = 160 },
        };
        Inference.InferenceClient client = new(_channel);
        string arguments = "", id = "";
        FinishReason reason = FinishReason.Unspecified;
        using AsyncServerStreamingCall<GenerateEvent> stream = client.ChatStream(request, deadline: DateTime.UtcNow + TimeSpan.FromSeconds(60));
        await foreach (GenerateEvent happened in stream.ResponseStream.ReadAllAsync())
        {
            foreach (ToolCall call in happened.Delta?.ToolCalls ?? [])
                (id, arguments) = (call.HasId ? call.Id : id, arguments + call.Arguments);
            reason = happened.Finished?.Reason ?? reason;
        }
        Assert.That(reason, Is.EqualTo(FinishReason.ToolCalls), arguments);
        AssertFits(arguments);

        // The answer goes back, and the model goes on from it.
        request.Messages.Add(new ChatMessage { Role = ChatRole.Assistant, ToolCalls = { new ToolCall { Id = id, Name = "get_forecast", Arguments = arguments } } });
        request.Messages.Add(new ChatMessage { Role = ChatRole.Tool, ToolCallId = id, Content = "Sunny, 21 degrees." });
        request.ToolChoice = new ToolChoice { Mode = ToolChoice.Types.Mode.None };
        request.Stopping.MaxTokens = 8;
        GenerateResponse next = await client.ChatAsync(request, deadline: DateTime.UtcNow + TimeSpan.FromSeconds(60));
        Assert.That((next.Outputs[0].ToolCalls.Count, next.Outputs[0].Text), Is.EqualTo((0, next.Outputs[0].Text)).And.Matches<(int, string Text)>(output => output.Text.Length > 0));
    }

    private static void AssertFits(string arguments)
    {
        JsonElement root = JsonSerializer.Deserialize<JsonElement>(arguments);
        Assert.That(root.EnumerateObject().Select(member => member.Name), Is.EquivalentTo(new[] { "city", "unit", "days" }), arguments);
        Assert.That(root.GetProperty("city").GetString()!.EnumerateRunes().Count(), Is.InRange(1, 24));
        Assert.That(root.GetProperty("unit").GetString(), Is.AnyOf("celsius", "fahrenheit"));
        Assert.That(root.GetProperty("days").GetInt32(), Is.InRange(1, 7));
    }
}
