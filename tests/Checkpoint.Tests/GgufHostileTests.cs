using NUnit.Framework;

namespace TpServe.Checkpoint.Tests;

public sealed class GgufHostileTests
{
    private ScratchFolder _scratch = null!;

    [SetUp]
    public void CreateFolder() => _scratch = new ScratchFolder();

    [TearDown]
    public void DeleteFolder() => _scratch.Dispose();

    [Test]
    public void Open_CompleteFile_Succeeds()
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(_scratch.Write("model.gguf", GgufBuilder.Model().Build()));
        Assert.That(checkpoint.Tensors, Has.Count.EqualTo(6));
    }

    [Test]
    public void Open_CutAnywhere_SaysTruncated()
    {
        GgufBuilder builder = GgufBuilder.Model();
        byte[] whole = builder.Build();
        Assert.That(builder.Boundaries, Has.Count.GreaterThan(60));
        // Every boundary and one byte to either side of it; at 0 the file is empty, which is said in other words.
        foreach (int length in builder.Boundaries.SelectMany(b => new[] { b - 1, b, b + 1 }).Where(l => l > 0 && l < whole.Length).Distinct())
        {
            string message = Fault(whole[..length]);
            Assert.That(message, Does.Contain("truncated"), $"cut to {length} of {whole.Length} bytes");
            Assert.That(message, Does.Contain("model.gguf"));
        }
        Assert.That(Fault([]), Does.Contain("empty"));
    }

    [TestCase(1UL << 60)]
    [TestCase(ulong.MaxValue)]
    [TestCase(100_000UL)]
    public void Open_AbsurdTensorCount_FailsWithoutAllocating(ulong count)
    {
        byte[] file = new GgufBuilder { TensorCount = count }.Build();
        string path = _scratch.Write("model.gguf", file);
        Fault(file); // once before, so that only what the count causes is measured
        long before = GC.GetAllocatedBytesForCurrentThread();
        string message = Assert.Throws<ModelLoadException>(() => ModelCheckpoints.Open(path))!.Message;
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.LessThan(256 << 10));
        Assert.That(message, Does.Contain("the number of tensors").And.Contain($"{count}"));
    }

    [Test]
    public void Open_AbsurdKeyCount_NamesIt() =>
        Assert.That(Fault(new GgufBuilder { KeyCount = 1UL << 60 }), Does.Contain("the number of metadata keys").And.Contain($"{1UL << 60}"));

    [TestCase(0u)]
    [TestCase(0x47475546u)]
    public void Open_WrongMagic_SaysNotGguf(uint magic) => Assert.That(Fault(new GgufBuilder { Magic = magic }), Does.Contain("not a GGUF file"));

    [TestCase(1u, "version 1")]
    [TestCase(4u, "version 4")]
    [TestCase(0x03000000u, "big-endian")]
    public void Open_OtherVersion_NamesIt(uint version, string words)
    {
        GgufBuilder builder = GgufBuilder.Model();
        builder.Version = version;
        Assert.That(Fault(builder), Does.Contain(words));
    }

    [Test]
    public void Open_VersionTwo_IsRead()
    {
        GgufBuilder builder = GgufBuilder.Model();
        builder.Version = 2;
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(_scratch.Write("model.gguf", builder.Build()));
        Assert.That(checkpoint.Config.Hidden, Is.EqualTo(64));
    }

    [TestCase(0u)]
    [TestCase(24u)]
    [TestCase(1u << 30)]
    public void Open_WrongAlignment_NamesIt(uint alignment) =>
        Assert.That(Fault(GgufBuilder.Model().UInt32("general.alignment", alignment)), Does.Contain("general.alignment").And.Contain($"{alignment}"));

    [Test]
    public void Open_OtherAlignment_IsObeyed()
    {
        GgufBuilder builder = GgufBuilder.Model().UInt32("general.alignment", 128);
        builder.Alignment = 128;
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(_scratch.Write("model.gguf", builder.Build()));
        byte[] expected = [.. Testing.Numbers.Uniform(64, seed: 5).SelectMany(BitConverter.GetBytes)];
        Assert.That(checkpoint.Bytes(checkpoint.Tensors["model.norm.weight"]).SequenceEqual(expected), Is.True);
    }

    [TestCase(3, true)]
    [TestCase(4, false)]
    [TestCase(200, false)]
    public void Open_NestedArray_IsBounded(int innerArrays, bool allowed)
    {
        byte[] value = [.. BitConverter.GetBytes(4u), .. BitConverter.GetBytes(1UL), .. BitConverter.GetBytes(7u)]; // an array of one number
        for (int i = 1; i < innerArrays; i++)
            value = [.. BitConverter.GetBytes(9u), .. BitConverter.GetBytes(1UL), .. value];
        GgufBuilder builder = GgufBuilder.Model().Array("general.deep", 9, 1, value);
        if (allowed)
            ModelCheckpoints.Open(_scratch.Write("model.gguf", builder.Build())).Dispose();
        else
            Assert.That(Fault(builder), Does.Contain("general.deep").And.Contain("nested"));
    }

    [TestCase(1L << 60)]
    [TestCase(-1L)]
    [TestCase(1L << 40)]
    public void Open_AbsurdArrayCount_NamesTheKey(long count) =>
        Assert.That(Fault(GgufBuilder.Model().Array("general.numbers", 5, count, [0, 0, 0, 0])), Does.Contain("general.numbers"));

    [Test]
    public void Open_AbsurdStringLength_NamesTheKey() =>
        Assert.That(Fault(GgufBuilder.Model().Raw("general.name", 8, BitConverter.GetBytes(1UL << 62))), Does.Contain("general.name").And.Contain("truncated"));

    [Test]
    public void Open_UnknownValueType_NamesTheKey() =>
        Assert.That(Fault(GgufBuilder.Model().Raw("general.name", 13, [0, 0, 0, 0])), Does.Contain("general.name").And.Contain("13"));

    [Test]
    public void Open_KeyTwice_NamesIt() =>
        Assert.That(Fault(GgufBuilder.Model().Again("llama.block_count")), Does.Contain("llama.block_count").And.Contain("twice"));

    [Test]
    public void Open_TensorTwice_NamesIt() =>
        Assert.That(Fault(GgufBuilder.Model().Tensor("output_norm.weight", [64])), Does.Contain("output_norm.weight").And.Contain("twice"));

    [Test]
    public void Open_TwoTensorsOfOneHubName_NamesBoth() => Assert.That(
        Fault(GgufBuilder.Model().Tensor("blk.0.post_attention_norm.weight", [64]).Tensor("blk.0.ffn_norm.weight", [64])),
        Does.Contain("blk.0.post_attention_norm.weight").And.Contain("blk.0.ffn_norm.weight"));

    [Test]
    public void Open_OverlappingTensors_NamesBoth()
    {
        GgufBuilder builder = GgufBuilder.Model();
        builder.Offsets["blk.0.attn_q.weight"] = 32;
        Assert.That(Fault(builder), Does.Contain("token_embd.weight").And.Contain("blk.0.attn_q.weight").And.Contain("overlap"));
    }

    [TestCase(1UL, "alignment")]
    [TestCase(1UL << 40, "truncated")]
    [TestCase(ulong.MaxValue - 31, "truncated")]
    public void Open_WrongOffset_NamesTheTensor(ulong offset, string words)
    {
        GgufBuilder builder = GgufBuilder.Model();
        builder.Offsets["output_norm.weight"] = offset;
        Assert.That(Fault(builder), Does.Contain("output_norm.weight").And.Contain(words));
    }

    [TestCase(new ulong[0], "0 dimensions")]
    [TestCase(new ulong[] { 1, 1, 1, 1, 1 }, "5 dimensions")]
    [TestCase(new ulong[] { 0 }, "is 0")]
    [TestCase(new ulong[] { 64, 1UL << 40 }, "1099511627776")]
    [TestCase(new ulong[] { 1UL << 30, 1UL << 30, 1UL << 30 }, "overflow")]
    public void Open_WrongDimensions_NamesTheTensor(ulong[] dims, string words) =>
        Assert.That(Fault(GgufBuilder.Model().Tensor("blk.0.ffn_up.weight", dims, 0, new byte[32])), Does.Contain("blk.0.ffn_up.weight").And.Contain(words));

    [Test]
    public void Open_RaggedBlockRow_NamesTheTensor() =>
        Assert.That(Fault(GgufBuilder.Model().Tensor("blk.0.ffn_up.weight", [48, 2], 8, new byte[102])), Does.Contain("blk.0.ffn_up.weight").And.Contain("multiple of 32"));

    [TestCase(9u, "Q8_1")]
    [TestCase(26u, "I32")]
    [TestCase(102u, "number 102")]
    [TestCase(99u, "number 99")]
    public void Open_UnsupportedTensorType_NamesTensorTypeAndAlternatives(uint type, string name) => Assert.That(
        Fault(GgufBuilder.Model().Tensor("blk.0.ffn_up.weight", [256], type, new byte[512])),
        Does.Contain("blk.0.ffn_up.weight").And.Contain(name).And.Contain("Q4_K"));

    [TestCase("llama.block_count", "must be an integer")]
    [TestCase("llama.attention.layer_norm_rms_epsilon", "must be a number")]
    [TestCase("tokenizer.ggml.tokens", "must be an array of strings")]
    public void Open_StringWhereAnotherTypeBelongs_NamesKeyAndTypes(string key, string expected) =>
        Assert.That(Fault(GgufBuilder.Model().String(key, "x")), Does.Contain(key).And.Contain(expected).And.Contain("String"));

    [Test]
    public void Open_NumberWhereTextBelongs_NamesKeyAndTypes() =>
        Assert.That(Fault(GgufBuilder.Model().UInt32("general.architecture", 7)), Does.Contain("general.architecture").And.Contain("String").And.Contain("UInt32"));

    [TestCase("general.architecture")]
    [TestCase("llama.block_count")]
    [TestCase("llama.embedding_length")]
    [TestCase("llama.attention.head_count")]
    [TestCase("llama.attention.layer_norm_rms_epsilon")]
    [TestCase("tokenizer.ggml.model")]
    [TestCase("tokenizer.ggml.tokens")]
    public void Open_MissingKey_NamesIt(string key) => Assert.That(Fault(GgufBuilder.Model().Without(key)), Does.Contain(key).And.Contain("missing"));

    [TestCase("llama.block_count", 0u)]
    [TestCase("llama.block_count", 1025u)]
    [TestCase("llama.embedding_length", uint.MaxValue)]
    [TestCase("llama.attention.head_count_kv", 3u)]
    [TestCase("llama.attention.head_count", 0u)]
    [TestCase("llama.rope.dimension_count", 7u)]
    [TestCase("llama.rope.dimension_count", 32u)]
    [TestCase("llama.attention.value_length", 8u)]
    public void Open_NumberOutOfRange_NamesTheValue(string key, uint value) => Assert.That(Fault(GgufBuilder.Model().UInt32(key, value)), Does.Contain($"{value}"));

    [TestCase(float.NaN)]
    [TestCase(-1f)]
    [TestCase(float.PositiveInfinity)]
    public void Open_WrongEpsilon_NamesTheKey(float value) =>
        Assert.That(Fault(GgufBuilder.Model().Float32("llama.attention.layer_norm_rms_epsilon", value)), Does.Contain("layer_norm_rms_epsilon"));

    [Test]
    public void Open_ScoresOfAnotherLength_NamesTheKey() =>
        Assert.That(Fault(GgufBuilder.Model().Floats("tokenizer.ggml.scores", 1f, 2f)), Does.Contain("tokenizer.ggml.scores").And.Contain("8 tokens"));

    [Test]
    public void Open_NoEmbedding_NamesIt() =>
        Assert.That(Fault(GgufBuilder.Model().WithoutTensors().Tensor("output_norm.weight", [64])), Does.Contain("token_embd.weight"));

    private string Fault(GgufBuilder builder) => Fault(builder.Build());

    private string Fault(byte[] file)
    {
        string path = _scratch.Write("model.gguf", file);
        return Assert.Throws<ModelLoadException>(() => ModelCheckpoints.Open(path))!.Message;
    }
}
