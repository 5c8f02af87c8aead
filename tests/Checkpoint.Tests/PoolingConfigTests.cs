using NUnit.Framework;
using TpServe.Checkpoint.Config;

namespace TpServe.Checkpoint.Tests;

public sealed class PoolingConfigTests
{
    [TestCase("{}", Pooling.Last, null)]
    [TestCase("""{ "pooling_mode_lasttoken": true, "pooling_mode_mean_tokens": false }""", Pooling.Last, null)]
    [TestCase("""{ "pooling_mode_mean_tokens": true, "word_embedding_dimension": 64, "include_prompt": true }""", Pooling.Mean, null)]
    [TestCase("""{ "pooling_mode_cls_token": true }""", Pooling.First, null)]
    [TestCase("""{ "pooling_mode": "mean" }""", Pooling.Mean, null)]
    [TestCase("""{ "pooling_mode_max_tokens": true }""", Pooling.Last, "pooling by max_tokens")]
    [TestCase("""{ "pooling_mode_mean_tokens": true, "pooling_mode_max_tokens": true }""", Pooling.Last, "pooling by mean_tokens and max_tokens")]
    public void Folder_WithAPoolingModule_SaysHow(string module, Pooling pooling, string? unserved)
    {
        using HubFolder folder = new();
        Directory.CreateDirectory(Path.Combine(folder.Path, "1_Pooling"));
        folder.Write("1_Pooling/config.json", module);
        Assert.That(Read(folder.Path), Is.EqualTo(new PoolingConfig(pooling, unserved)));
    }

    [Test]
    public void Folder_WithoutOne_PoolsTheLastToken()
    {
        using HubFolder folder = new();
        Assert.That(Read(folder.Path), Is.EqualTo(PoolingConfig.Default));
    }

    [Test]
    public void Folder_WithALayerAfterPooling_IsNotServed()
    {
        using HubFolder folder = new();
        Directory.CreateDirectory(Path.Combine(folder.Path, "2_Dense"));
        Assert.That(Read(folder.Path).Unserved, Does.Contain("2_Dense"));
    }

    [Test]
    public void Folder_WithAMalformedModule_NamesTheFile()
    {
        using HubFolder folder = new();
        Directory.CreateDirectory(Path.Combine(folder.Path, "1_Pooling"));
        folder.Write("1_Pooling/config.json", """{ "pooling_mode_mean_tokens": "yes" }""");
        Assert.That(() => Read(folder.Path), Throws.TypeOf<ModelLoadException>().With.Message.Contains("pooling_mode_mean_tokens"));
    }

    [TestCase(0u, Pooling.Last, null)]
    [TestCase(1u, Pooling.Mean, null)]
    [TestCase(2u, Pooling.First, null)]
    [TestCase(3u, Pooling.Last, null)]
    [TestCase(4u, Pooling.Last, "pooling by rank")]
    [TestCase(9u, Pooling.Last, "pooling type 9")]
    public void GgufFile_WithAPoolingType_SaysHow(uint type, Pooling pooling, string? unserved)
    {
        using ScratchFolder scratch = new();
        Assert.That(Read(scratch.Write("model.gguf", GgufBuilder.Model().UInt32("llama.pooling_type", type).Build())), Is.EqualTo(new PoolingConfig(pooling, unserved)));
    }

    private static PoolingConfig Read(string path)
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(path);
        return checkpoint.Pooling;
    }
}
