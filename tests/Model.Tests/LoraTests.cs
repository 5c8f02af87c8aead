using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Kernels.Cpu;
using TpServe.Sharding;
using TpServe.Testing;

namespace TpServe.Model.Tests;

/// <summary>Low-rank adapters: against what PEFT computed, and the same bits in every split and batch.</summary>
[Parallelizable(ParallelScope.Children)]
public sealed class LoraTests
{
    private const string Base = "models/llama-gqa-tied-rope3";

    private static readonly string[] s_adapters = ["r4-q-v", "r6-rslora-mlp", "r8-all-linear"];

    private static IEnumerable<Partition> Splits(ModelCheckpoint checkpoint) =>
        [Partition.Even(checkpoint.Config, 2), Partition.Even(checkpoint.Config, 3), Partition.Weighted(checkpoint.Config, [1, 3])];

    /// <summary>Golden bound 1.</summary>
    [Test]
    public void Adapter_InFloat32_MatchesPeft([ValueSource(nameof(s_adapters))] string name, [Values("reference", "cpu")] string device)
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.FindOrIgnore(Base));
        GoldenComparison comparison = Compare(checkpoint, name, device == "cpu" ? RankSetup.CpuFloat32 : RankSetup.Reference, 4 * 2e-3);
        Assert.That(comparison.LargestDifference, Is.LessThanOrEqualTo(2e-3));
    }

    /// <summary>Golden bound 2, by how far the base model moves in bfloat16.</summary>
    [TestCaseSource(nameof(s_adapters))]
    public void Adapter_WithDefaultSettings_IsWithinBfloat16Noise(string name)
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.FindOrIgnore(Base));
        GoldenDistance noise = GoldenModel.Read(Path.Combine(TestData.FindOrIgnore(Base), "expected.json")).Bfloat16Noise!;
        GoldenComparison comparison = Compare(checkpoint, name, RankSetup.CpuDefault, 4 * noise.MaxAbsLogprobDifferenceInTop);
        Assert.That(comparison.MeanKl, Is.LessThanOrEqualTo(noise.MeanKl));
    }

    [TestCaseSource(nameof(s_adapters))]
    public void Adapter_AnySplit_EqualsOneRank(string name)
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.FindOrIgnore(Base));
        Job[] jobs = Jobs(Golden(name), Folder(name));
        string[] alone = Texts(RankGroup.RunAlone(checkpoint, RankSetup.CpuDefault, jobs));
        foreach (Partition split in Splits(checkpoint))
            foreach (JobResult[] rank in RankGroup.Run(checkpoint, split, RankSetup.CpuDefault, jobs).Take(1))
                Assert.That(Texts(rank), Is.EqualTo(alone), split.ToString());
    }

    /// <summary>Rows on three adapters and on none in one batch: each as if it were alone, those on none as if there were no adapters.</summary>
    [Test]
    public void Batch_OfSeveralAdapters_EqualsEachAlone([Values(1, 3)] int degree)
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.FindOrIgnore(Base));
        GoldenModel golden = Golden(s_adapters[0]);
        Job[] mixed = [.. new[] { null, Folder(s_adapters[0]), Folder(s_adapters[2]), Folder(s_adapters[1]), null, Folder(s_adapters[2]) }
            .Select((folder, i) => Jobs(golden, folder)[i % golden.Cases.Count] with { JoinsAt = i })];
        string[] together = Texts(RankGroup.Run(checkpoint, Partition.Even(checkpoint.Config, degree), RankSetup.CpuDefault, mixed)[0]);
        for (int i = 0; i < mixed.Length; i++)
            Assert.That(together[i], Is.EqualTo(Texts(RankGroup.RunAlone(checkpoint, RankSetup.CpuDefault, [mixed[i]]))[0]), $"job {i}");
    }

    [Test]
    public void Adapter_OnAnyInstructionPathAndThreads_GivesTheSameBits()
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.FindOrIgnore(Base));
        Job[] jobs = Jobs(Golden(s_adapters[2]), Folder(s_adapters[2]));
        string[] expected = Texts(RankGroup.RunAlone(checkpoint, RankSetup.CpuDefault, jobs));
        foreach (IsaPath isa in Isa.Supported)
            Assert.That(Texts(RankGroup.RunAlone(checkpoint, RankSetup.CpuDefault with { Backend = () => new CpuBackend(threads: 2, isa) }, jobs)), Is.EqualTo(expected), isa.Name());
    }

    /// <summary>GGUF files of the llama architecture store query and key rows in another order; adapters are in the hub's.</summary>
    [Test]
    public void Adapter_OnGgufBase_SplitsAlike()
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.SmolLm2);
        string folder = RandomAdapter.Write(checkpoint.Config, rank: 5);
        try
        {
            Job job = new() { Prompt = [1, 400, 77, 3000, 9], NewTokens = 2, PromptTopLogprobs = 3, Lora = folder };
            string alone = RankGroup.RunAlone(checkpoint, RankSetup.CpuDefault, [job])[0].ToString();
            Assert.That(RankGroup.Run(checkpoint, Partition.Even(checkpoint.Config, 2), RankSetup.CpuDefault, [job])[0][0].ToString(), Is.EqualTo(alone));
            Assert.That(RankGroup.RunAlone(checkpoint, RankSetup.CpuDefault, [job with { Lora = null }])[0].ToString(), Is.Not.EqualTo(alone));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    /// <summary>The config says one thing, the tensors another: each fault names its tensor, and nothing is left allocated.</summary>
    [TestCase("\"r\": 4", "\"r\": 5", "layers.0.self_attn.q_proj.lora_A.weight': expected [5, ")]
    [TestCase("\"v_proj\"", "\"k_proj\"", "layers.0.self_attn.k_proj.lora_A.weight': expected [4, ")]
    [TestCase("\"v_proj\"", "\"lm_head\"", "expected no adapter on 'model.layers.0.self_attn.v_proj'")]
    public void Adapter_ThatDoesNotFitItsModel_IsRefusedByTensor(string says, string instead, string message)
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.FindOrIgnore(Base));
        string folder = Directory.CreateTempSubdirectory("tpserve-lora-").FullName;
        try
        {
            File.Copy(Path.Combine(Folder(s_adapters[0]), "adapter_model.safetensors"), Path.Combine(folder, "adapter_model.safetensors"));
            string config = File.ReadAllText(Path.Combine(Folder(s_adapters[0]), "adapter_config.json"));
            File.WriteAllText(Path.Combine(folder, "adapter_config.json"), config.Replace(says, instead, StringComparison.Ordinal));
            Assert.That(
                () => RankGroup.RunAlone(checkpoint, RankSetup.Reference, [new Job { Prompt = [1], Lora = folder }]),
                Throws.TypeOf<ModelLoadException>().With.Message.Contains(message));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    private static GoldenComparison Compare(ModelCheckpoint checkpoint, string name, RankSetup setup, double leastGap)
    {
        GoldenModel golden = Golden(name);
        JobResult[] results = RankGroup.RunAlone(checkpoint, setup, [.. golden.Cases.Select(expected => new Job
        {
            Prompt = expected.PromptTokenIds, Chunk = 48, NewTokens = expected.GreedyTokenIds.Length, PromptTopLogprobs = checkpoint.Config.Vocab, Lora = Folder(name),
        })]);
        GoldenComparison comparison = new();
        foreach ((GoldenCase expected, JobResult actual) in golden.Cases.Zip(results))
        {
            comparison.Add(expected, actual);
            GoldenComparison.AssertGreedy(expected, actual, leastGap);
        }
        TestContext.Out.WriteLine($"{name}: largest difference {comparison.LargestDifference:e2}, mean KL {comparison.MeanKl:e2}");
        return comparison;
    }

    private static Job[] Jobs(GoldenModel golden, string? folder) =>
        [.. golden.Cases.Select(expected => new Job { Prompt = expected.PromptTokenIds, Chunk = 19, NewTokens = 8, PromptTopLogprobs = 3, Lora = folder })];

    private static string[] Texts(IEnumerable<JobResult> results) => [.. results.Select(result => result.ToString())];

    private static string Folder(string name) => TestData.FindOrIgnore($"lora/{name}");

    private static GoldenModel Golden(string name) => GoldenModel.Read(Path.Combine(Folder(name), "expected.json"));
}
