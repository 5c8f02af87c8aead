using NUnit.Framework;

namespace TpServe.Checkpoint.Tests;

public sealed class SafetensorsHostileTests
{
    private HubFolder _folder = null!;

    [SetUp]
    public void CreateFolder() => _folder = new HubFolder();

    [TearDown]
    public void DeleteFolder() => _folder.Dispose();

    [Test]
    public void Bytes_OfEachTensor_AreItsOwn()
    {
        _folder.Write("model.safetensors", HubFolder.Safetensors(("a", "BF16", [3], [1, 2, 3, 4, 5, 6]), ("b", "F32", [], [7, 8, 9, 10]), ("c", "F16", [0, 5], [])));
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(_folder.Path);
        Assert.That(checkpoint.Bytes(checkpoint.Tensors["a"]).ToArray(), Is.EqualTo(new byte[] { 1, 2, 3, 4, 5, 6 }));
        Assert.That(checkpoint.Bytes(checkpoint.Tensors["b"]).ToArray(), Is.EqualTo(new byte[] { 7, 8, 9, 10 }));
        Assert.That(checkpoint.Bytes(checkpoint.Tensors["c"]).ToArray(), Is.Empty);
        Assert.That(checkpoint.Bytes(checkpoint.Tensors["a"], 4, 2).ToArray(), Is.EqualTo(new byte[] { 5, 6 }));
        Assert.Throws<ArgumentOutOfRangeException>(() => checkpoint.Bytes(checkpoint.Tensors["a"], 5, 2));
        checkpoint.Dispose();
        Assert.Throws<ObjectDisposedException>(() => checkpoint.Bytes(checkpoint.Tensors["a"] with { }));
    }

    [Test]
    public void Open_CutAnywhere_IsRefused()
    {
        byte[] whole = HubFolder.Safetensors(("a", "BF16", [3], [1, 2, 3, 4, 5, 6]), ("b", "F32", [1], [7, 8, 9, 10]));
        for (int length = 0; length < whole.Length; length++)
            Assert.That(Fault(whole[..length]), Does.Contain("model.safetensors"), $"cut to {length} of {whole.Length} bytes");
    }

    [TestCase(ulong.MaxValue)]
    [TestCase(1UL << 60)]
    [TestCase(1000UL)]
    public void Open_AbsurdHeaderLength_NamesIt(ulong length) =>
        Assert.That(Fault([.. BitConverter.GetBytes(length), (byte)'{', (byte)'}']), Does.Contain($"{length}").And.Contain("truncated"));

    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[4,12]}}""", 12, "overlap")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", 16, "overlap")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,16]}}""", 16, "16 bytes of data")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}""", 9, "9 bytes of data")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}""", 4, "takes 8 bytes")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[8,0]}}""", 8, "takes 8 bytes")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8,8]}}""", 8, "data_offsets")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[-8,0]}}""", 8, "-8")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,9223372036854775808]}}""", 8, "9223372036854775808")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2147483647,2147483647,2147483647],"data_offsets":[0,8]}}""", 8, "overflow")]
    [TestCase("""{"a":{"dtype":"F32","shape":[-2],"data_offsets":[0,8]}}""", 8, "-2")]
    [TestCase("""{"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}}""", 8, "a.shape")]
    [TestCase("""{"a":{"dtype":"F8_E5M2","shape":[8],"data_offsets":[0,8]}}""", 8, "F8_E5M2")]
    [TestCase("""{"a":{"dtype":32,"shape":[2],"data_offsets":[0,8]}}""", 8, "a.dtype")]
    [TestCase("""{"a":{"shape":[2],"data_offsets":[0,8]}}""", 8, "'a.dtype' is missing")]
    [TestCase("""{"a":{"dtype":"F32","data_offsets":[0,8]}}""", 8, "'a.shape' is missing")]
    [TestCase("""{"a":{"dtype":"F32","shape":[2]}}""", 8, "'a.data_offsets' is missing")]
    [TestCase("""{"a":5}""", 0, "'a' must be an object")]
    [TestCase("""{"a":null}""", 0, "'a' must be an object")]
    [TestCase("""{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}""", 8, "not valid JSON")]
    [TestCase("""{"\ud800":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}""", 4, "not valid")]
    [TestCase("""[1]""", 0, "object")]
    public void Open_WrongHeader_NamesWhatIsWrong(string header, int dataBytes, string words) =>
        Assert.That(Fault(HubFolder.Safetensors(header, new byte[dataBytes])), Does.Contain("model.safetensors").And.Contain(words));

    [Test]
    public void Open_DeepHeader_IsRefused() =>
        Assert.That(Fault(HubFolder.Safetensors(string.Concat(Enumerable.Repeat("{\"a\":", 100_000)), [])), Does.Contain("not valid JSON"));

    [Test]
    public void Open_NoWeights_SaysWhatIsExpected()
    {
        _folder.Delete("model.safetensors");
        Assert.That(Fault(), Does.Contain("model.safetensors.index.json"));
    }

    [Test]
    public void Open_Shards_AreJoined()
    {
        Shards("""{ "weight_map": { "a": "one.safetensors", "b": "two.safetensors" } }""");
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(_folder.Path);
        Assert.That(checkpoint.Bytes(checkpoint.Tensors["b"]).ToArray(), Is.EqualTo(new byte[] { 5, 6, 7, 8 }));
    }

    [TestCase("""{ }""", "weight_map")]
    [TestCase("""{ "weight_map": { "a": 1 } }""", "weight_map.a")]
    [TestCase("""{ "weight_map": { "a": "../one.safetensors" } }""", "../one.safetensors")]
    [TestCase("""{ "weight_map": { "a": "/etc/passwd" } }""", "/etc/passwd")]
    [TestCase("""{ "weight_map": { "a": "three.safetensors" } }""", "three.safetensors")]
    [TestCase("""{ "weight_map": { "a": "one.safetensors", "c": "one.safetensors" } }""", "'c'")]
    public void Open_WrongIndex_NamesWhatIsWrong(string index, string words)
    {
        Shards(index);
        Assert.That(Fault(), Does.Contain(words));
    }

    private void Shards(string index) => _folder
        .Delete("model.safetensors")
        .Write("one.safetensors", HubFolder.Safetensors(("a", "F32", [1], [1, 2, 3, 4])))
        .Write("two.safetensors", HubFolder.Safetensors(("b", "F32", [1], [5, 6, 7, 8])))
        .Write("model.safetensors.index.json", index);

    private string Fault(byte[] weights)
    {
        _folder.Write("model.safetensors", weights);
        return Fault();
    }

    private string Fault() => Assert.Throws<ModelLoadException>(() => ModelCheckpoints.Open(_folder.Path))!.Message;
}
