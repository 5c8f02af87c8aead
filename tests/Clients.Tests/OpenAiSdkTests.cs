using System.ClientModel;
using System.ClientModel.Primitives;
using System.Text;
using System.Text.Json;
using NUnit.Framework;
using OpenAI;
using OpenAI.Chat;
using OpenAI.Embeddings;
using OpenAI.Models;
using OpenAI.Responses;

namespace TpServe.Clients.Tests;

/// <summary>OpenAI's .NET SDK, unchanged.</summary>
[Category("MultiProcess")]
public sealed class OpenAiSdkTests
{
    private static readonly BinaryData s_person =
        BinaryData.FromString("""{"type":"object","properties":{"name":{"type":"string","maxLength":12},"age":{"type":"integer","minimum":0,"maximum":120}},"required":["name","age"],"additionalProperties":false}""");

    private static OpenAIClient Client() => new(new ApiKeyCredential("none"), new OpenAIClientOptions { Endpoint = RunningServer.OpenAi });

    private static ChatClient Chat() => Client().GetChatClient(RunningServer.Model);

    private static ChatCompletionOptions Greedy(int most) => new() { Temperature = 0, MaxOutputTokenCount = most };

    [Test]
    public async Task Chat_WholeAndStreamed_Agree()
    {
        ChatMessage[] messages = [new SystemChatMessage("You answer in one short sentence."), new UserChatMessage("Why is the sky blue?")];
        ChatCompletion whole = await Chat().CompleteChatAsync(messages, Greedy(16));
        StringBuilder streamed = new();
        ChatTokenUsage? usage = null;
        ChatFinishReason? finish = null;
        await foreach (StreamingChatCompletionUpdate update in Chat().CompleteChatStreamingAsync(messages, Greedy(16)))
        {
            foreach (ChatMessageContentPart part in update.ContentUpdate)
                streamed.Append(part.Text);
            usage ??= update.Usage;
            finish ??= update.FinishReason;
        }
        Assert.That(whole.Content[0].Text, Is.Not.Empty);
        Assert.That(streamed.ToString(), Is.EqualTo(whole.Content[0].Text));
        Assert.That((usage!.InputTokenCount, usage.OutputTokenCount, finish), Is.EqualTo((whole.Usage.InputTokenCount, whole.Usage.OutputTokenCount, (ChatFinishReason?)whole.FinishReason)));
    }

    [Test]
    public async Task Chat_Logprobs_AreRead()
    {
        ChatCompletionOptions options = Greedy(3);
        options.IncludeLogProbabilities = true;
        options.TopLogProbabilityCount = 2;
        ChatCompletion answer = await Chat().CompleteChatAsync([new UserChatMessage("Hi")], options);
        Assert.That(answer.ContentTokenLogProbabilities, Has.Count.InRange(1, 3));
        Assert.That(answer.ContentTokenLogProbabilities[0].TopLogProbabilities, Has.Count.EqualTo(2));
    }

    // The SDK has no client for it; its pipeline has.
    [Test]
    public async Task Completions_ByThePipeline_AreAnswered()
    {
        ClientPipeline pipeline = Client().Pipeline;
        using PipelineMessage message = pipeline.CreateMessage();
        message.Request.Method = "POST";
        message.Request.Uri = new Uri(RunningServer.Http, "/v1/completions");
        message.Request.Headers.Set("content-type", "application/json");
        message.Request.Content = BinaryContent.Create(BinaryData.FromObjectAsJson(new { model = RunningServer.Model, prompt = "The capital of France is", max_tokens = 4, temperature = 0 }));
        await pipeline.SendAsync(message);
        using JsonDocument body = JsonDocument.Parse(message.Response!.Content);
        Assert.That(message.Response.Status, Is.EqualTo(200));
        Assert.That(body.RootElement.GetProperty("choices")[0].GetProperty("text").GetString(), Does.StartWith(" Paris"));
    }

    [Test]
    public async Task Models_List_HasTheServedOne()
    {
        OpenAIModelClient models = Client().GetOpenAIModelClient();
        OpenAIModelCollection all = await models.GetModelsAsync();
        Assert.That(all.Select(model => model.Id), Is.EqualTo(new[] { RunningServer.Model }));
        Assert.That((await models.GetModelAsync(RunningServer.Model)).Value.Id, Is.EqualTo(RunningServer.Model));
    }

    [Test]
    public async Task Chat_JsonSchema_GivesWhatTheSchemaSays()
    {
        ChatCompletionOptions options = Greedy(60);
        options.ResponseFormat = ChatResponseFormat.CreateJsonSchemaFormat("person", s_person, jsonSchemaIsStrict: true);
        ChatCompletion answer = await Chat().CompleteChatAsync([new UserChatMessage("Ann is thirty years old. Who is it?")], options);
        using JsonDocument person = JsonDocument.Parse(answer.Content[0].Text);
        Assert.That(person.RootElement.EnumerateObject().Select(property => property.Name), Is.EqualTo(new[] { "name", "age" }));
        Assert.That(person.RootElement.GetProperty("age").GetInt32(), Is.InRange(0, 120));
    }

    [Test]
    public void Refusal_IsReadAsTheSdkReadsOpenAis()
    {
        ClientResultException? wrong = Assert.ThrowsAsync<ClientResultException>(() => Chat().CompleteChatAsync([new UserChatMessage("Hi")], new ChatCompletionOptions { Temperature = -1 })).GetAwaiter().GetResult();
        Assert.That(wrong!.Status, Is.EqualTo(400));
        Assert.That(wrong.Message, Does.Contain("temperature"));
    }

    [Test, Needs(Feature.Tools)]
    public async Task Chat_NamedFunction_IsCalledWithArgumentsOfItsSchema()
    {
        ChatCompletionOptions options = Greedy(60);
        options.Tools.Add(ChatTool.CreateFunctionTool(Weather.Name, "Tells the weather of a city.", BinaryData.FromString(Weather.Schema)));
        options.ToolChoice = ChatToolChoice.CreateFunctionChoice(Weather.Name);
        List<ChatMessage> messages = [new UserChatMessage("What is the weather in Ulm?")];
        ChatCompletion asked = await Chat().CompleteChatAsync(messages, options);
        ChatToolCall call = asked.ToolCalls.Single();
        Assert.That(call.FunctionName, Is.EqualTo(Weather.Name));
        Assert.That(Weather.Accepts(call.FunctionArguments.ToString()));

        messages.AddRange([new AssistantChatMessage(asked), new ToolChatMessage(call.Id, "Sunny.")]);
        ChatCompletion answer = await Chat().CompleteChatAsync(messages, Greedy(12));
        Assert.That(answer.Content[0].Text, Is.Not.Empty);
    }

    [Test, Needs(Feature.Tools)]
    public async Task Chat_RequiredFunctionStreamed_ComesInPiecesOfOneCall()
    {
        ChatCompletionOptions options = Greedy(60);
        options.Tools.Add(ChatTool.CreateFunctionTool(Weather.Name, "Tells the weather of a city.", BinaryData.FromString(Weather.Schema)));
        options.ToolChoice = ChatToolChoice.CreateRequiredChoice();
        options.AllowParallelToolCalls = false;
        StringBuilder arguments = new();
        string? name = null, id = null;
        ChatFinishReason? finish = null;
        await foreach (StreamingChatCompletionUpdate update in Chat().CompleteChatStreamingAsync([new UserChatMessage("What is the weather in Bonn?")], options))
        {
            foreach (StreamingChatToolCallUpdate piece in update.ToolCallUpdates)
            {
                Assert.That(piece.Index, Is.Zero);
                name ??= piece.FunctionName;
                id ??= piece.ToolCallId;
                arguments.Append(piece.FunctionArgumentsUpdate);
            }
            finish ??= update.FinishReason;
        }
        Assert.That((name, finish), Is.EqualTo((Weather.Name, (ChatFinishReason?)ChatFinishReason.ToolCalls)));
        Assert.That(id, Is.Not.Empty);
        Assert.That(Weather.Accepts(arguments.ToString()));
    }

    [Test, Needs(Feature.Embeddings)]
    public async Task Embeddings_OfLikeSentences_AreCloserThanOfOthers()
    {
        EmbeddingClient client = Client().GetEmbeddingClient(RunningServer.Model);
        OpenAIEmbeddingCollection vectors = await client.GenerateEmbeddingsAsync(["The cat sleeps on the sofa.", "A cat is sleeping on a couch.", "Interest rates rose by two percent."]);
        float[][] values = [.. vectors.Select(vector => vector.ToFloats().ToArray())];
        Assert.That(Dot(values[0], values[1]), Is.GreaterThan(Dot(values[0], values[2])));
        Assert.That(Dot(values[0], values[0]), Is.EqualTo(1).Within(1e-4));
        Assert.That(vectors.Usage.InputTokenCount, Is.GreaterThan(10));

        static double Dot(float[] a, float[] b) => a.Zip(b, (x, y) => (double)x * y).Sum();
    }

    [Test, Needs(Feature.Responses)]
    public async Task Responses_WholeAndStreamed_Agree()
    {
        ResponsesClient client = Client().GetResponsesClient();
        CreateResponseOptions options = new(RunningServer.Model, [ResponseItem.CreateUserMessageItem("Why is the sky blue?")]) { Temperature = 0, MaxOutputTokenCount = 12 };
        ResponseResult whole = await client.CreateResponseAsync(options);
        Assert.That(whole.GetOutputText(), Is.Not.Empty);
        Assert.That(whole.Usage.OutputTokenCount, Is.InRange(1, 12));
        options.StreamingEnabled = true;
        StringBuilder streamed = new();
        ResponseResult? completed = null;
        await foreach (StreamingResponseUpdate update in await client.CreateResponseStreamingAsync(options))
        {
            streamed.Append((update as StreamingResponseOutputTextDeltaUpdate)?.Delta);
            completed = (update as StreamingResponseCompletedUpdate)?.Response ?? (update as StreamingResponseIncompleteUpdate)?.Response ?? completed;
        }
        Assert.That(streamed.ToString(), Is.EqualTo(whole.GetOutputText()));
        Assert.That(completed!.GetOutputText(), Is.EqualTo(whole.GetOutputText()));
    }

    [Test, Needs(Feature.Responses)]
    public async Task Responses_PreviousResponse_IsGoneOnWith()
    {
        ResponsesClient client = Client().GetResponsesClient();
        ResponseResult first = await client.CreateResponseAsync(new CreateResponseOptions(RunningServer.Model, [ResponseItem.CreateUserMessageItem("My name is Ann.")]) { Temperature = 0, MaxOutputTokenCount = 8 });
        ResponseResult second = await client.CreateResponseAsync(new CreateResponseOptions(RunningServer.Model, [ResponseItem.CreateUserMessageItem("What is my name?")])
        {
            Temperature = 0,
            MaxOutputTokenCount = 8,
            PreviousResponseId = first.Id,
        });
        Assert.That(second.PreviousResponseId, Is.EqualTo(first.Id));
        Assert.That(second.Usage.InputTokenCount, Is.GreaterThan(first.Usage.InputTokenCount));
        Assert.That((await client.GetResponseAsync(first.Id)).Value.GetOutputText(), Is.EqualTo(first.GetOutputText()));
    }

    [Test, Needs(Feature.Responses), Needs(Feature.Tools)]
    public async Task Responses_RequiredFunction_IsCalled()
    {
        CreateResponseOptions options = new(RunningServer.Model, [ResponseItem.CreateUserMessageItem("What is the weather in Ulm?")])
        {
            Temperature = 0,
            MaxOutputTokenCount = 60,
            ToolChoice = ResponseToolChoice.CreateRequiredChoice(),
            Tools = { ResponseTool.CreateFunctionTool(Weather.Name, BinaryData.FromString(Weather.Schema), strictModeEnabled: true, "Tells the weather of a city.") },
        };
        ResponseResult answer = await Client().GetResponsesClient().CreateResponseAsync(options);
        FunctionCallResponseItem call = answer.OutputItems.OfType<FunctionCallResponseItem>().First();
        Assert.That(call.FunctionName, Is.EqualTo(Weather.Name));
        Assert.That(Weather.Accepts(call.FunctionArguments.ToString()));
    }
}
