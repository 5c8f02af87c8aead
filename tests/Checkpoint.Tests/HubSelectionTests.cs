using NUnit.Framework;
using TpServe.Checkpoint.Hub;
using TpServe.Testing.Hub;

namespace TpServe.Checkpoint.Tests;

/// <summary>Which files of a repository are fetched, by name alone.</summary>
public sealed class HubSelectionTests
{
    private static readonly string[] s_quants =
    [
        "README.md", "m-Q4_K.gguf", "m-Q4_K_M.gguf", "m-UD-Q4_K_M.gguf", "m.q8_0.gguf", "mmproj-m-Q8_0.gguf", "m-imatrix.gguf",
        "BF16/m-BF16-00001-of-00002.gguf", "BF16/m-BF16-00002-of-00002.gguf",
    ];

    private static readonly string[] s_folder =
    [
        "config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors", "pytorch_model.bin", "model.pt", "training_args.bin", "modeling_x.py", "1_Pooling/config.json",
        "2_Dense/config.json", "2_Dense/model.safetensors", "onnx/model.onnx", "consolidated.safetensors", "original/tokenizer.model",
    ];

    [TestCase("Q4_K_M", "m-Q4_K_M.gguf")]
    [TestCase("q4_k_m", "m-Q4_K_M.gguf")]
    [TestCase("Q4_K", "m-Q4_K.gguf")]
    [TestCase("UD-Q4_K_M", "m-UD-Q4_K_M.gguf")]
    [TestCase("Q8_0", "m.q8_0.gguf")]
    [TestCase("BF16", "BF16/m-BF16-00001-of-00002.gguf,BF16/m-BF16-00002-of-00002.gguf")]
    [TestCase("BF16/m-BF16-00002-of-00002.gguf", "BF16/m-BF16-00001-of-00002.gguf,BF16/m-BF16-00002-of-00002.gguf")]
    [TestCase("m-BF16-00001-of-00002.gguf", "BF16/m-BF16-00001-of-00002.gguf,BF16/m-BF16-00002-of-00002.gguf")]
    [TestCase(null, "m-Q4_K_M.gguf")] // the preferred one
    public async Task Get_OneOfSeveralQuants_FetchesItAlone(string? selection, string expected)
    {
        await using FakeHub hub = await FakeHub.StartAsync();
        foreach (string name in s_quants)
            hub.Add(name, name);
        using ScratchFolder cache = new();
        HubModel model = await HubCase.GetAsync(hub, cache.Path, new HubModelId("org/model", "main", selection));
        Assert.That(Fetched(hub), Is.EqualTo(expected.Split(',')));
        Assert.That(model.Path, Does.EndWith($"/snapshots/{hub.Commit}/{expected.Split(',')[0]}"));
        Assert.That(File.ReadAllText(model.Path), Is.EqualTo(expected.Split(',')[0]));
    }

    [Test]
    public async Task Get_Folder_FetchesWhatIsReadAndNothingThatRuns()
    {
        await using FakeHub hub = await FakeHub.StartAsync();
        foreach (string name in s_folder)
            hub.Add(name, name);
        using ScratchFolder cache = new();
        HubModel model = await HubCase.GetAsync(hub, cache.Path, new HubModelId("org/model", "main", null));
        Assert.That(Fetched(hub).Order(StringComparer.Ordinal), Is.EqualTo(new[] { "1_Pooling/config.json", "2_Dense/config.json", "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json" }));
        Assert.That(model.Path, Does.EndWith($"/snapshots/{hub.Commit}"));
    }

    [Test]
    public async Task Get_IndexedWeights_FetchesTheFilesThatTheIndexNames()
    {
        await using FakeHub hub = await FakeHub.StartAsync();
        hub.Add("config.json", "{}").Add("tokenizer.json", "{}").Add("model-00001-of-00002.safetensors", "a").Add("model-00002-of-00002.safetensors", "b").Add("other.safetensors", "c")
            .Add("model.safetensors.index.json", """{"weight_map":{"x":"model-00001-of-00002.safetensors","y":"model-00002-of-00002.safetensors","z":"model-00001-of-00002.safetensors"}}""");
        using ScratchFolder cache = new();
        HubModel model = await HubCase.GetAsync(hub, cache.Path, new HubModelId("org/model", "main", null));
        Assert.That(Directory.GetFiles(model.Path, "*.safetensors").Select(Path.GetFileName).Order(StringComparer.Ordinal), Is.EqualTo(new[] { "model-00001-of-00002.safetensors", "model-00002-of-00002.safetensors" }));
    }

    [TestCase("""{"weight_map":{"x":"../../../escaped.safetensors"}}""")]
    [TestCase("""{"weight_map":{"x":"pytorch_model.bin"}}""")]
    [TestCase("""{"weight_map":{"x":7}}""")]
    [TestCase("[]")]
    public async Task Get_IndexThatLeadsElsewhere_IsRefused(string index)
    {
        await using FakeHub hub = await FakeHub.StartAsync();
        hub.Add("config.json", "{}").Add("tokenizer.json", "{}").Add("model.safetensors.index.json", index);
        using ScratchFolder cache = new();
        HubException fault = await HubCase.FailAsync(hub, cache.Path, new HubModelId("org/model", "main", null));
        Assert.That((fault.Fault, fault.Message), Is.EqualTo((HubFault.Refused, fault.Message)));
    }

    [TestCase("Q3_K_S", HubFault.NotFound, "m-Q4_K_M.gguf")]
    [TestCase("nothing.gguf", HubFault.NotFound, "nothing.gguf")]
    public async Task Get_SelectionThatFitsNothing_SaysWhatThereIs(string selection, HubFault expected, string named)
    {
        await using FakeHub hub = await FakeHub.StartAsync();
        foreach (string name in s_quants)
            hub.Add(name, name);
        using ScratchFolder cache = new();
        HubException fault = await HubCase.FailAsync(hub, cache.Path, new HubModelId("org/model", "main", selection));
        Assert.That(fault.Fault, Is.EqualTo(expected));
        Assert.That(fault.Message, Does.Contain(named).And.Contain(selection));
    }

    [Test]
    public async Task Get_PicklesAlone_SaysThatTheyAreNotRead()
    {
        await using FakeHub hub = await FakeHub.StartAsync();
        hub.Add("config.json", "{}").Add("pytorch_model.bin", "x");
        using ScratchFolder cache = new();
        HubException fault = await HubCase.FailAsync(hub, cache.Path, new HubModelId("org/model", "main", null));
        Assert.That(fault.Message, Does.Contain("pickled weights are not read"));
    }

    [TestCase("../../../m-Q4_K_M.gguf")]
    [TestCase("/etc/m-Q4_K_M.gguf")]
    [TestCase("a//m-Q4_K_M.gguf")]
    [TestCase("a\\..\\m-Q4_K_M.gguf")]
    [TestCase("a\u0000/m-Q4_K_M.gguf")]
    [TestCase("a:b/m-Q4_K_M.gguf")]
    public async Task Get_NameThatIsNoneOnDisk_IsRefusedAndNothingIsWritten(string name)
    {
        await using FakeHub hub = await FakeHub.StartAsync();
        hub.Names = [name];
        using ScratchFolder cache = new();
        HubException fault = await HubCase.FailAsync(hub, cache.Path, new HubModelId("org/model", "main", "Q4_K_M"));
        Assert.That(fault.Fault, Is.EqualTo(HubFault.Refused));
        Assert.That(Directory.EnumerateFileSystemEntries(cache.Path), Is.Empty);
    }

    private static IEnumerable<string> Fetched(FakeHub hub) => hub.Asked.Where(line => line.StartsWith("GET /org/model/resolve/", StringComparison.Ordinal)).Select(line => line.Split('/', 6)[5]);
}
