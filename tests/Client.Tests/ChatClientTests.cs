using System.Text.Json;
using Microsoft.Extensions.AI;
using NUnit.Framework;
using TpServe.Client.Ai;
using TpServe.Protos.V1;
using AiMessage = Microsoft.Extensions.AI.ChatMessage;
using AiRole = Microsoft.Extensions.AI.ChatRole;
using ChatRole = TpServe.Protos.V1.ChatRole;

namespace TpServe.Client.Tests;

/// <summary>What IChatClient's options and contents become, and what an answer becomes.</summary>
public sealed class ChatClientTests
{
    private static ChatRequest Request(ChatOptions? options, params AiMessage[] messages)
    {
        using TpServeClient client = new("http://127.0.0.1:1");
        return ChatRequestMapping.Of(client.AsIChatClient(), messages.Length > 0 ? messages : [new AiMessage(AiRole.User, "hi")], options, defaultModel: "default");
    }

    [System.ComponentModel.Description("The weather of a city")]
    private static string GetWeather([System.ComponentModel.Description("Name of the city")] string city) => $"Sunny in {city}";

    [Test]
    public void Options_All_AreMapped()
    {
        ChatRequest request = Request(new ChatOptions
        {
            Instructions = "Be brief.",
            Temperature = 0.5f,
            TopP = 0.9f,
            TopK = 7,
            Seed = 42,
            MaxOutputTokens = 11,
            StopSequences = ["\n", "END"],
            PresencePenalty = 0.1f,
            FrequencyPenalty = 0.2f,
            ModelId = "mine",
            ResponseFormat = ChatResponseFormat.Json,
            Tools =
            [
                AIFunctionFactory.Create(GetWeather, new AIFunctionFactoryOptions { Name = "get_weather", AdditionalProperties = new Dictionary<string, object?> { ["strict"] = true } }),
            ],
            ToolMode = ChatToolMode.RequireSpecific("get_weather"),
            AllowMultipleToolCalls = true,
            Reasoning = new ReasoningOptions { Effort = ReasoningEffort.Low },
        });
        Assert.Multiple(() =>
        {
            Assert.That(request.Messages.Select(message => (message.Role, message.Content)), Is.EqualTo(new[] { (ChatRole.System, "Be brief."), (ChatRole.User, "hi") }));
            Assert.That((request.Sampling.Temperature, request.Sampling.TopP, request.Sampling.TopK, request.Sampling.Seed), Is.EqualTo((0.5f, 0.9f, 7, 42UL)));
            Assert.That((request.Sampling.PresencePenalty, request.Sampling.FrequencyPenalty), Is.EqualTo((0.1f, 0.2f)));
            Assert.That((request.Stopping.MaxTokens, request.Model), Is.EqualTo((11, "mine")));
            Assert.That(request.Stopping.Stop, Is.EqualTo(new[] { "\n", "END" }));
            Assert.That(request.Constraint.JsonObject, Is.True);
            Assert.That((request.Tools[0].Name, request.Tools[0].Description, request.Tools[0].Strict), Is.EqualTo(("get_weather", "The weather of a city", true)));
            Assert.That((request.ToolChoice.Mode, request.ToolChoice.Name), Is.EqualTo((ToolChoice.Types.Mode.Function, "get_weather")));
            Assert.That((request.ReasoningEffort, request.ParallelToolCalls, request.HasIncludeReasoning), Is.EqualTo(("low", true, false)));
        });
        using JsonDocument schema = JsonDocument.Parse(request.Tools[0].ParametersJsonSchema);
        Assert.That(schema.RootElement.GetProperty("properties").GetProperty("city").GetProperty("type").GetString(), Is.EqualTo("string"));
    }

    [Test]
    public void Options_None_SetNothing()
    {
        ChatRequest request = Request(null);
        Assert.That(request, Is.EqualTo(new ChatRequest
        {
            Model = "default",
            Messages = { new Protos.V1.ChatMessage { Role = ChatRole.User, Content = "hi" } },
            Sampling = new SamplingOptions(),
            Stopping = new StoppingOptions(),
            Response = new ResponseOptions(),
        }));
    }

    [Test]
    public void Options_JsonSchema_GoesAsItIs()
    {
        JsonElement schema = JsonSerializer.SerializeToElement(new { type = "object", properties = new { age = new { type = "integer" } } });
        Assert.That(Request(new ChatOptions { ResponseFormat = ChatResponseFormat.ForJsonSchema(schema, "person") }).Constraint.JsonSchema, Is.EqualTo(schema.GetRawText()));
    }

    private static IEnumerable<TestCaseData> ToolModes()
    {
        yield return new TestCaseData(ChatToolMode.Auto, ToolChoice.Types.Mode.Auto);
        yield return new TestCaseData(ChatToolMode.None, ToolChoice.Types.Mode.None);
        yield return new TestCaseData(ChatToolMode.RequireAny, ToolChoice.Types.Mode.Required);
    }

    [TestCaseSource(nameof(ToolModes))]
    public void Options_ToolMode_IsMapped(ChatToolMode mode, ToolChoice.Types.Mode expected) =>
        Assert.That(Request(new ChatOptions { ToolMode = mode }).ToolChoice.Mode, Is.EqualTo(expected));

    [Test]
    public void Options_AdditionalProperties_AreThoseOfTheServer()
    {
        ChatRequest request = Request(new ChatOptions
        {
            AdditionalProperties = new AdditionalPropertiesDictionary
            {
                ["request_id"] = "mine",
                ["min_p"] = 0.05,
                ["repetition_penalty"] = 1.1f,
                ["logit_bias"] = new Dictionary<int, float> { [3] = -1 },
                ["stop_token_ids"] = new[] { 1, 2 },
                ["ignore_eos"] = true,
                ["min_tokens"] = 4,
                ["choice"] = new[] { "yes", "no" },
                ["priority"] = -3,
                ["cache_salt"] = "salt",
                ["draft_tokens"] = JsonSerializer.SerializeToElement(2),
                ["logprobs"] = true,
                ["top_logprobs"] = 3,
                ["chat_template_kwargs"] = new Dictionary<string, object> { ["enable_thinking"] = false },
                ["lora"] = null,
            },
        });
        Assert.Multiple(() =>
        {
            Assert.That((request.RequestId, request.Sampling.MinP, request.Sampling.RepetitionPenalty, request.Sampling.LogitBias[3]), Is.EqualTo(("mine", 0.05f, 1.1f, -1f)));
            Assert.That((request.Stopping.IgnoreEos, request.Stopping.MinTokens), Is.EqualTo((true, 4)));
            Assert.That(request.Stopping.StopTokenIds, Is.EqualTo(new[] { 1, 2 }));
            Assert.That(request.Constraint.Choice.Options, Is.EqualTo(new[] { "yes", "no" }));
            Assert.That((request.Priority, request.Cache.Salt, request.DraftTokens, request.HasLora), Is.EqualTo((-3, "salt", 2, false)));
            Assert.That((request.Response.Logprobs, request.Response.TopLogprobs), Is.EqualTo((true, 3)));
            Assert.That(request.TemplateVariables.Fields["enable_thinking"].BoolValue, Is.False);
        });
    }

    [Test]
    public void Options_RawRequest_IsWhatTheRestIsAddedTo()
    {
        ChatRequest raw = new() { Priority = 5, Sampling = new SamplingOptions { MinP = 0.5f }, Model = "raw" };
        ChatRequest request = Request(new ChatOptions { Temperature = 0, RawRepresentationFactory = _ => raw });
        Assert.That((request.Priority, request.Sampling.MinP, request.Sampling.Temperature, request.Model), Is.EqualTo((5, 0.5f, 0f, "raw")));
        Assert.That(raw.Messages, Is.Empty);
    }

    private static IEnumerable<TestCaseData> Unserved()
    {
        static TestCaseData Case(string name, ChatOptions options) => new TestCaseData(options, name).SetArgDisplayNames(name);

        yield return Case("ConversationId", new ChatOptions { ConversationId = "c" });
        yield return Case("HostedWebSearchTool", new ChatOptions { Tools = [new HostedWebSearchTool()] });
        yield return Case("AdditionalProperties[\"best_of\"]", new ChatOptions { AdditionalProperties = new AdditionalPropertiesDictionary { ["best_of"] = 2 } });
        yield return Case("RawRepresentationFactory", new ChatOptions { RawRepresentationFactory = _ => "no request" });
        yield return Case("Seed", new ChatOptions { Seed = -1 });
        yield return Case("Summary", new ChatOptions { Reasoning = new ReasoningOptions { Output = ReasoningOutput.Summary } });
        yield return Case("ExtraHigh", new ChatOptions { Reasoning = new ReasoningOptions { Effort = ReasoningEffort.ExtraHigh } });
        yield return Case("AdditionalProperties[\"regex\"]", new ChatOptions
        {
            ResponseFormat = ChatResponseFormat.Json,
            AdditionalProperties = new AdditionalPropertiesDictionary { ["regex"] = "a" },
        });
    }

    [TestCaseSource(nameof(Unserved))]
    public void Options_Unserved_AreRefusedByName(ChatOptions options, string name) =>
        Assert.That(Assert.Throws<NotSupportedException>(() => Request(options))!.Message, Does.Contain(name));

    [Test]
    public void Options_ValueOfAnotherKind_IsRefusedByName() =>
        Assert.That(
            Assert.Throws<ArgumentException>(() => Request(new ChatOptions { AdditionalProperties = new AdditionalPropertiesDictionary { ["priority"] = "high" } }))!.Message,
            Does.Contain("\"priority\"] is 'high'"));

    [Test]
    public void Messages_WholeConversation_IsMapped()
    {
        ChatRequest request = Request(
            null,
            new AiMessage(AiRole.System, "Be brief."),
            new AiMessage(AiRole.User, [new TextContent("What is "), new TextContent("it?")]) { AuthorName = "Ann" },
            new AiMessage(AiRole.Assistant,
            [
                new TextReasoningContent("Two cities."),
                new FunctionCallContent("c1", "get_weather", new Dictionary<string, object?> { ["city"] = "Bonn" }),
                new FunctionCallContent("c2", "get_weather", new Dictionary<string, object?> { ["city"] = "Ulm" }),
                new UsageContent(new UsageDetails()),
            ]),
            new AiMessage(AiRole.Tool, [new FunctionResultContent("c1", "Sunny"), new FunctionResultContent("c2", new { Sky = "grey" })]),
            new AiMessage(AiRole.Assistant, "Sun and rain."),
            new AiMessage(new AiRole("critic"), "Hm."));
        Assert.That(request.Messages, Is.EqualTo(new Protos.V1.ChatMessage[]
        {
            new() { Role = ChatRole.System, Content = "Be brief." },
            new() { Role = ChatRole.User, Content = "What is it?", Name = "Ann" },
            new()
            {
                Role = ChatRole.Assistant,
                Reasoning = "Two cities.",
                ToolCalls =
                {
                    new ToolCall { Id = "c1", Name = "get_weather", Arguments = """{"city":"Bonn"}""", Index = 0 },
                    new ToolCall { Id = "c2", Name = "get_weather", Arguments = """{"city":"Ulm"}""", Index = 1 },
                },
            },
            new() { Role = ChatRole.Tool, ToolCallId = "c1", Name = "get_weather", Content = "Sunny" },
            new() { Role = ChatRole.Tool, ToolCallId = "c2", Name = "get_weather", Content = """{"sky":"grey"}""" },
            new() { Role = ChatRole.Assistant, Content = "Sun and rain." },
            new() { RoleName = "critic", Content = "Hm." },
        }));
    }

    [Test]
    public void Messages_OfWhatTheServerCannotTake_AreRefusedByName()
    {
        AiMessage image = new(AiRole.User, [new TextContent("What is it?"), new DataContent(new byte[] { 1 }, "image/png")]);
        Assert.That(Assert.Throws<NotSupportedException>(() => Request(null, image))!.Message, Does.Contain("DataContent (image/png)"));
        AiMessage misplaced = new(AiRole.User, [new FunctionCallContent("c", "f")]);
        Assert.That(Assert.Throws<NotSupportedException>(() => Request(null, misplaced))!.Message, Does.Contain("FunctionCallContent").And.Contain("\"user\""));
    }

    [Test]
    public async Task GetResponse_Answer_IsWhole()
    {
        await using FakeServer server = await FakeServer.StartAsync();
        server.Answers = (_, _) => FakeServer.Response(new Output
        {
            Text = "Hm.",
            Reasoning = "They ask.",
            ToolCalls = { new ToolCall { Id = "c1", Name = "f", Arguments = """{"a":1,"b":"x"}""" }, new ToolCall { Id = "c2", Name = "g", Arguments = "" } },
            Finished = new Finished { Reason = FinishReason.ToolCalls },
        });
        using TpServeClient client = server.Client();
        ChatResponse response = await client.AsIChatClient().GetResponseAsync("hi");
        AIContent[] contents = [.. response.Messages.Single().Contents];
        Assert.Multiple(() =>
        {
            Assert.That((response.ResponseId, response.ModelId, response.FinishReason), Is.EqualTo(("req-1", "fake", (ChatFinishReason?)ChatFinishReason.ToolCalls)));
            Assert.That((response.Usage!.InputTokenCount, response.Usage.OutputTokenCount, response.Usage.TotalTokenCount, response.Usage.CachedInputTokenCount), Is.EqualTo((5L, 7L, 12L, 3L)));
            Assert.That(contents.Select(content => content.GetType()), Is.EqualTo(new[] { typeof(TextReasoningContent), typeof(TextContent), typeof(FunctionCallContent), typeof(FunctionCallContent) }));
            Assert.That(((TextReasoningContent)contents[0]).Text, Is.EqualTo("They ask."));
            Assert.That(((FunctionCallContent)contents[2]).Arguments!.Select(argument => $"{argument.Key}={argument.Value}"), Is.EqualTo(new[] { "a=1", "b=x" }));
            Assert.That(((FunctionCallContent)contents[3]).Arguments, Is.Empty);
        });
        ChatResponse silent = await client.AsIChatClient().GetResponseAsync("hi", new ChatOptions { Reasoning = new ReasoningOptions { Output = ReasoningOutput.None } });
        Assert.That(silent.Messages.Single().Contents.OfType<TextReasoningContent>(), Is.Empty);
    }

    [Test]
    public async Task GetResponse_ArgumentsThatAreNoJson_AreToldAndGoBackAsTheyWere()
    {
        await using FakeServer server = await FakeServer.StartAsync();
        server.Answers = (_, _) => FakeServer.Response(new Output { ToolCalls = { new ToolCall { Id = "c1", Name = "f", Arguments = "{oops" } }, Finished = new Finished { Reason = FinishReason.ToolCalls } });
        using TpServeClient client = server.Client();
        ChatResponse response = await client.AsIChatClient().GetResponseAsync("hi");
        Assert.That(response.Messages[0].Contents.OfType<FunctionCallContent>().Single().Exception?.InnerException, Is.InstanceOf<JsonException>());
        Assert.That(Request(null, [.. response.Messages]).Messages[0].ToolCalls[0].Arguments, Is.EqualTo("{oops"));
    }

    [Test]
    public void GetService_GivesMetadataAndTheClient()
    {
        using TpServeClient client = new(new TpServeClientOptions { Address = new Uri("http://host:1"), Model = "mine" });
        IChatClient chat = client.AsIChatClient();
        ChatClientMetadata? metadata = chat.GetService<ChatClientMetadata>();
        Assert.That((metadata!.ProviderName, metadata.ProviderUri, metadata.DefaultModelId), Is.EqualTo(("tpserve", new Uri("http://host:1"), "mine")));
        Assert.That(chat.GetService<TpServeClient>(), Is.SameAs(client));
        Assert.That(chat.GetService<TpServeChatClient>(), Is.SameAs(chat));
        Assert.That(chat.GetService<TpServeClient>("key"), Is.Null);
        EmbeddingGeneratorMetadata? embedding = client.AsIEmbeddingGenerator().GetService<EmbeddingGeneratorMetadata>();
        Assert.That((embedding!.ProviderName, embedding.DefaultModelId), Is.EqualTo(("tpserve", "mine")));
    }
}
