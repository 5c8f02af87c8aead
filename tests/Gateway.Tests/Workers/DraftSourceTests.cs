using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Gateway.Devices;
using TpServe.Gateway.Workers;
using TpServe.Protos.Worker;
using TpServe.Sharding;
using TpServe.Testing;
using TpServe.Tokenization;

namespace TpServe.Gateway.Tests.Workers;

/// <summary>Which models may guess for which, and what a plan and a load make of them.</summary>
public sealed class DraftSourceTests
{
    private static readonly string[] s_bytes = ["a", "b", "c", "d"];

    private static Tokenizer Of(IReadOnlyList<string> tokens, IReadOnlyList<int>? types = null, int? bos = null) => Tokenizer.Create(new TokenizerFiles
    {
        Vocabulary = new GgufVocabulary { Model = "gpt2", Pre = "gpt-2", Tokens = tokens, Types = types ?? [.. tokens.Select(_ => 1)], BosId = bos },
    });

    private static string Llama => TestData.Local("models/llama-mha");

    [Test]
    public void Open_NoDraft_IsNone()
    {
        using ModelCheckpoint target = ModelCheckpoints.Open(TestData.SmolLm2);
        Assert.That(DraftSource.Open("", target), Is.Null);
    }

    [Test]
    public void Open_TheModelItself_MayGuess()
    {
        using ModelCheckpoint target = ModelCheckpoints.Open(TestData.SmolLm2);
        using DraftSource draft = DraftSource.Open(TestData.SmolLm2, target)!;
        Assert.That(draft.Facts.Config, Is.EqualTo(target.Config).Using<ModelConfig>((a, b) => a.Layers == b.Layers && a.Vocab == b.Vocab));
    }

    [Test]
    public void Open_AnotherTokenizerOrNoFile_IsRefusedNamingBoth()
    {
        using ModelCheckpoint target = ModelCheckpoints.Open(TestData.SmolLm2);
        Assert.That(Refusal(Llama), Does.Contain("the tokenizers differ: token 1 is '<|im_start|>' in the model"));
        Assert.That(Refusal("/no/such.gguf"), Does.Contain("/no/such.gguf"));

        string Refusal(string path)
        {
            ModelLoadException? fault = Assert.Throws<ModelLoadException>(() => DraftSource.Open(path, target));
            Assert.That(fault!.Message, Does.StartWith($"--draft {path} cannot guess for {target.Path}: "));
            return fault.Message;
        }
    }

    [Test]
    public void Open_ArchitectureThatIsNotServed_IsRefusedByName()
    {
        string folder = Directory.CreateTempSubdirectory("draft-").FullName;
        try
        {
            foreach (string file in Directory.EnumerateFiles(Llama))
                File.Copy(file, Path.Combine(folder, Path.GetFileName(file)));
            string config = Path.Combine(folder, "config.json");
            File.WriteAllText(config, File.ReadAllText(config).Replace("\"llama\"", "\"mamba9\"", StringComparison.Ordinal));
            using ModelCheckpoint target = ModelCheckpoints.Open(Llama);
            Assert.That(Assert.Throws<ModelLoadException>(() => DraftSource.Open(folder, target))!.Message, Does.Contain("mamba9").And.Contain(folder).And.Contain(Llama));
        }
        finally
        {
            Directory.Delete(folder, recursive: true);
        }
    }

    [Test]
    public void Difference_EqualUpToTheEndOfTheShorter_IsNone()
    {
        Assert.That(DraftSource.Difference(Of(s_bytes), Of(s_bytes)), Is.Null);
        Assert.That(DraftSource.Difference(Of(s_bytes), Of([.. s_bytes, "[unused0]"])), Is.Null, "padding");
        Assert.That(DraftSource.Difference(Of([.. s_bytes, "<tool>"]), Of(s_bytes)), Is.Null, "a token that the draft never guesses");
    }

    [Test]
    public void Difference_OneTokenOfManyOrWhatIsSpecial_IsNamed()
    {
        Assert.That(DraftSource.Difference(Of(s_bytes), Of(["a", "b", "d", "c"])), Does.Contain("token 2 is 'c' in the model and 'd' in the draft"));
        Assert.That(DraftSource.Difference(Of(s_bytes, [1, 1, 1, 3]), Of(s_bytes)), Does.Contain("token 3, 'd', is special in the model alone"));
        Assert.That(DraftSource.Difference(Of(s_bytes, bos: 1), Of(s_bytes, bos: 2)), Does.Contain("begin with token 1 in the model and 2 in the draft"));
    }

    [Test]
    public void Create_WithADraft_CountsTheWeightsAndTheCacheOfBoth()
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.SmolLm2);
        DraftFacts draft = new("/draft.gguf", checkpoint.Config with { Layers = 10, MaxPositions = 100 }, _ => 3000);
        GatewayOptions options = new() { MaxRunning = 1024 };
        GroupPlan plan = Plan(checkpoint, options, draft);
        // A token takes 30 layers on each of two ranks without it, 40 with it: 2 KV heads of 64 in f16, keys and values.
        long layer = 2 * 2 * 64 * 2;
        Assert.That((long)plan.KvBlocks * plan.BlockTokens, Is.EqualTo(Rounded(((8L << 20) - 2 * (1000 + 3000)) / 2 / (2 * 40 * layer))));
        Assert.That((plan.Draft!.MaxModelLen, plan.Draft.Shards.Count), Is.EqualTo((Math.Min(100, plan.MaxModelLen), 2)));
        Assert.That(Plan(checkpoint, options, null).KvBlocks, Is.GreaterThan(plan.KvBlocks));

        long Rounded(long tokens) => tokens / options.BlockTokens * options.BlockTokens;
    }

    [Test]
    public void Create_DraftThatCannotBeSplitSo_IsNamed()
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.SmolLm2);
        DraftFacts draft = new("/draft.gguf", checkpoint.Config, _ => 1);
        Assert.That(Assert.Throws<ShardingException>(() => DraftPlan.Create(draft, Partition.MaxDegree + 1, weights: null))!.Message, Does.Contain("--draft /draft.gguf").And.Contain("65"));
    }

    [Test]
    public void Requests_WithADraft_TellEachRankItsPartition()
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.SmolLm2);
        GatewayOptions options = new();
        GroupPlan plan = Plan(checkpoint, options, new DraftFacts("/draft.gguf", checkpoint.Config with { Heads = 6, MaxPositions = 64 }, _ => 1));
        HelloReply worker = new() { HostId = "h/i/s", Cores = 2, HostCores = 2, Isa = InstructionSet.Avx2, Isas = { InstructionSet.Avx2 }, Version = "1" };
        LoadRequest[] requests = LoadPlanner.Requests(plan, options, "/m.gguf", 7, "prefix", [worker, worker], TransportChoice.Unproven(Transport.Shm, [0, 0], "near"), "/full/draft.gguf");
        Assert.That(requests[1].HeadBoundaries, Is.EqualTo(new[] { 0, 5, 9 }));
        Assert.That((requests[1].Draft.ModelPath, requests[1].Draft.MaxModelLen), Is.EqualTo(("/full/draft.gguf", 64)));
        Assert.That(requests[1].Draft.HeadBoundaries, Is.EqualTo(new[] { 0, 3, 6 }).Or.EqualTo(new[] { 0, 4, 6 }));
        Assert.That(LoadPlanner.Requests(Plan(checkpoint, options, null), options, "/m.gguf", 7, "prefix", [worker, worker], TransportChoice.Unproven(Transport.Shm, [0, 0], "near"))[0].Draft, Is.Null);
    }

    private static GroupPlan Plan(ModelCheckpoint checkpoint, GatewayOptions options, DraftFacts? draft) =>
        GroupPlan.Create(checkpoint.Config, options, DevicePlan.Cpu(2, "test"), freeBytes: 8L << 20, cores: 2, _ => 1000, draft: draft);
}
