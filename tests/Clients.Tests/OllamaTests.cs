using NUnit.Framework;
using OllamaSharp;
using OllamaSharp.Models;
using OllamaSharp.Models.Chat;

namespace TpServe.Clients.Tests;

/// <summary>OllamaSharp, unchanged.</summary>
[Category("MultiProcess"), Needs(Feature.Ollama)]
public sealed class OllamaTests
{
    private static ChatRequest Ask(bool streams) => new()
    {
        Model = RunningServer.Model,
        Stream = streams,
        Messages = [new Message(ChatRole.User, "Why is the sky blue?")],
        Options = new RequestOptions { Temperature = 0, NumPredict = 12 },
    };

    [Test]
    public async Task Tags_List_HasTheServedModel()
    {
        using OllamaApiClient client = new(RunningServer.Http, RunningServer.Model);
        IEnumerable<Model> models = await client.ListLocalModelsAsync();
        Assert.That(models.Select(model => model.Name), Has.Some.StartsWith(RunningServer.Model));
        Assert.That(await client.GetVersionAsync(), Is.Not.Empty);
    }

    [Test]
    public async Task Show_Model_IsDescribed()
    {
        using OllamaApiClient client = new(RunningServer.Http, RunningServer.Model);
        ShowModelResponse shown = await client.ShowModelAsync(new ShowModelRequest { Model = RunningServer.Model });
        Assert.That(shown.Details.Family, Is.EqualTo("llama"));
    }

    [Test]
    public async Task Chat_WholeAndStreamed_Agree()
    {
        using OllamaApiClient client = new(RunningServer.Http, RunningServer.Model);
        string[] texts = new string[2];
        foreach (bool streams in new[] { false, true })
        {
            int updates = 0;
            await foreach (ChatResponseStream? update in client.ChatAsync(Ask(streams)))
            {
                texts[streams ? 1 : 0] += update!.Message.Content;
                updates++;
                if (update is ChatDoneResponseStream done)
                    Assert.That((done.EvalCount, done.DoneReason), Is.EqualTo((12, "length")));
            }
            Assert.That(updates, streams ? Is.GreaterThan(3) : Is.EqualTo(1));
        }
        Assert.That(texts[0], Is.Not.Empty);
        Assert.That(texts[1], Is.EqualTo(texts[0]));
    }

    [Test]
    public async Task Generate_RawPrompt_IsContinued()
    {
        using OllamaApiClient client = new(RunningServer.Http, RunningServer.Model);
        string text = "";
        await foreach (GenerateResponseStream? update in client.GenerateAsync(new GenerateRequest
        {
            Model = RunningServer.Model,
            Prompt = "The capital of France is",
            Raw = true,
            Options = new RequestOptions { Temperature = 0, NumPredict = 4 },
        }))
            text += update!.Response;
        Assert.That(text, Does.StartWith(" Paris"));
    }
}
