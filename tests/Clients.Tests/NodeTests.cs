using System.Text.Json;
using NUnit.Framework;

namespace TpServe.Clients.Tests;

/// <summary>Clients from npm, unchanged: openai, @grpc/grpc-js by reflection, grpc-web in a browser.</summary>
[Category("MultiProcess")]
public sealed class NodeTests
{
    private static string Text(JsonElement element, string name) => element.GetProperty(name).GetString()!;

    [Test]
    public async Task OpenAi_ChatCompletionsModelsAndSchema_AreAnswered()
    {
        JsonElement told = await NodeClients.RunAsync("openai.mjs", RunningServer.OpenAi.ToString(), RunningServer.Model, "text");
        Assert.That(Text(told, "whole"), Is.Not.Empty);
        Assert.That(Text(told, "streamed"), Is.EqualTo(Text(told, "whole")));
        Assert.That(told.GetProperty("usage").GetInt32(), Is.InRange(1, 12));
        Assert.That(Text(told, "completion"), Does.StartWith(" Paris"));
        Assert.That(told.GetProperty("models").EnumerateArray().Select(id => id.GetString()), Is.EqualTo(new[] { RunningServer.Model }));
        Assert.That(Weather.Accepts(Text(told, "schema")));
        Assert.That(Text(told, "refused"), Is.EqualTo("400 temperature"));
    }

    [Test, Needs(Feature.Tools)]
    public async Task OpenAi_RunTools_CallsTheFunction()
    {
        JsonElement told = await NodeClients.RunAsync("openai.mjs", RunningServer.OpenAi.ToString(), RunningServer.Model, "tools");
        Assert.That(Text(told, "name"), Is.EqualTo(Weather.Name));
        Assert.That(Weather.Accepts(Text(told, "arguments")));
        Assert.That(Text(told, "streamed"), Is.EqualTo(Text(told, "arguments")));
    }

    [Test, Needs(Feature.Embeddings)]
    public async Task OpenAi_Embeddings_AreVectors()
    {
        // The client asks for base64 and decodes it by itself.
        JsonElement told = await NodeClients.RunAsync("openai.mjs", RunningServer.OpenAi.ToString(), RunningServer.Model, "embeddings");
        Assert.That(told.GetProperty("dimensions").EnumerateArray().Select(one => one.GetInt32()), Is.EqualTo(new[] { 576, 576 }));
        Assert.That(told.GetProperty("length").GetDouble(), Is.EqualTo(1).Within(1e-4));
    }

    [Test, Needs(Feature.Responses)]
    public async Task OpenAi_Responses_WholeAndStreamedAgree()
    {
        JsonElement told = await NodeClients.RunAsync("openai.mjs", RunningServer.OpenAi.ToString(), RunningServer.Model, "responses");
        Assert.That(Text(told, "whole"), Is.Not.Empty);
        Assert.That(Text(told, "streamed"), Is.EqualTo(Text(told, "whole")));
    }

    [Test]
    public async Task GrpcJs_ByReflection_FindsAndCallsTheServices()
    {
        JsonElement told = await NodeClients.RunAsync("grpc.mjs", RunningServer.Grpc.Authority, RunningServer.Model);
        Assert.That(
            told.GetProperty("services").EnumerateArray().Select(name => name.GetString()),
            Is.SupersetOf(new[] { "tpserve.v1.Inference", "tpserve.v1.Control", "grpc.health.v1.Health" }));
        Assert.That(Text(told, "whole"), Is.Not.Empty);
        Assert.That(Text(told, "streamed"), Is.EqualTo(Text(told, "whole")));
        Assert.That(told.GetProperty("seqs").EnumerateArray().Select(seq => seq.GetInt32()), Is.Ordered.And.Unique);
        Assert.That(Text(told, "model"), Is.EqualTo(RunningServer.Model));
        Assert.That(Text(told, "refused"), Does.StartWith("3 "));
    }

    [Test, Needs(Feature.GrpcWeb)]
    public async Task GrpcWeb_InABrowser_StreamsAndCalls()
    {
        if (!File.Exists("/usr/bin/chromium"))
            Assert.Ignore("/usr/bin/chromium is not installed.");
        JsonElement told = await NodeClients.RunAsync("browser.mjs", RunningServer.Http.ToString());
        Assert.That(Text(told, "whole"), Is.Not.Empty);
        Assert.That(Text(told, "streamed"), Is.EqualTo(Text(told, "whole")));
        Assert.That(told.GetProperty("events").GetInt32(), Is.GreaterThan(3));
        Assert.That(told.GetProperty("refused").GetInt32(), Is.EqualTo(3));
    }

    [Test, Needs(Feature.GrpcWeb)]
    public async Task GrpcWeb_UnderNode_StreamsAndCalls()
    {
        JsonElement told = await NodeClients.RunAsync("grpc-web.mjs", RunningServer.Http.ToString());
        Assert.That(Text(told, "whole"), Is.Not.Empty);
        Assert.That(Text(told, "streamed"), Is.EqualTo(Text(told, "whole")));
    }
}
