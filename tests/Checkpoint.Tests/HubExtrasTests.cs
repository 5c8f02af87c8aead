using NUnit.Framework;

namespace TpServe.Checkpoint.Tests;

/// <summary>Tensors of a folder beside those of the model.</summary>
public sealed class HubExtrasTests
{
    private HubFolder _folder = null!;

    [SetUp]
    public void CreateFolder() => _folder = new HubFolder();

    [TearDown]
    public void DeleteFolder() => _folder.Dispose();

    [Test]
    public void Open_TiedWithTheSameHead_LoadsItOnce()
    {
        using ModelCheckpoint checkpoint = Open("true", Matrix("model.embed_tokens.weight", 1), Matrix("lm_head.weight", 1));
        Assert.That((checkpoint.Config.TieEmbeddings, checkpoint.Warnings.Count), Is.EqualTo((true, 0)));
        Assert.That(checkpoint.Tensors.Keys, Is.EqualTo(new[] { "model.embed_tokens.weight" }));
    }

    [Test]
    public void Open_TiedWithAnotherHead_UsesItAndSaysSo()
    {
        using ModelCheckpoint checkpoint = Open("true", Matrix("model.embed_tokens.weight", 1), Matrix("lm_head.weight", 2));
        Assert.That(checkpoint.Config.TieEmbeddings, Is.False);
        Assert.That(checkpoint.Tensors, Does.ContainKey("lm_head.weight"));
        Assert.That(checkpoint.Warnings, Has.Some.Contain("tie_word_embeddings").And.Some.Contain("lm_head.weight"));
    }

    [Test]
    public void Open_TiedUnderTheHeadsName_IsTheEmbedding()
    {
        using ModelCheckpoint checkpoint = Open("true", Matrix("lm_head.weight", 3));
        Assert.That(checkpoint.Config.TieEmbeddings, Is.True);
        Assert.That(checkpoint.Bytes(checkpoint.Tensors["model.embed_tokens.weight"]).ToArray(), Is.EqualTo(Matrix("", 3).Data));
    }

    [Test]
    public void Open_BuffersAndFurtherLayers_AreLeftOutWithTheirNames()
    {
        using ModelCheckpoint checkpoint = Open(
            "false", Matrix("model.layers.0.self_attn.rotary_emb.inv_freq", 1), Matrix("model.layers.4.eh_proj.weight", 1), Matrix("model.layers.4.enorm.weight", 1), Matrix("model.layers.3.mlp.up_proj.bias", 1));
        Assert.That(checkpoint.Tensors.Keys, Is.EqualTo(new[] { "model.layers.3.mlp.up_proj.bias" }), "what changes arithmetic stays, and is refused when it is loaded");
        Assert.That(checkpoint.Warnings, Has.Some.Contain("3 tensors").And.Some.Contain("rotary_emb.inv_freq"));
    }

    private static (string Name, string Type, int[] Shape, byte[] Data) Matrix(string name, byte value) => (name, "F32", [8, 64], [.. Enumerable.Repeat(value, 8 * 64 * 4)]);

    private ModelCheckpoint Open(string tied, params (string, string, int[], byte[])[] tensors)
    {
        _folder.Config("llama", $"\"tie_word_embeddings\": {tied}").Write("model.safetensors", HubFolder.Safetensors(tensors));
        return ModelCheckpoints.Open(_folder.Path);
    }
}
