using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Kernels.Cpu;
using TpServe.Sharding;

namespace TpServe.Model.Tests;

/// <summary>Mixtures of experts however a file stores them, and what is refused.</summary>
[Parallelizable(ParallelScope.Children)]
public sealed class MixtureTests
{
    private static readonly Job Job = new() { Prompt = [.. Enumerable.Range(7, 33)], NewTokens = 12, Chunk = 20, PromptTopLogprobs = 3 };

    [Test]
    public void Stacked_OneTensorForAProjection_HasTheBitsOfOneForEachExpert([Values("mixtral", "glm4_moe-q8_0")] string name, [Values(1, 3)] int degree)
    {
        using RandomCheckpoint single = OddModels.Create(name), stacked = OddModels.Create(name);
        (string module, string[] matrices) = name == "mixtral" ? ("block_sparse_moe.experts", ["w1", "w2", "w3"]) : ("mlp.experts", new[] { "gate_proj", "up_proj", "down_proj" });
        for (int layer = 0; layer < single.Config.Layers; layer++)
            foreach (string matrix in matrices)
                stacked.Join($"model.layers.{layer}.{module}", matrix, single.Config.Experts!.Count);
        Assert.That(stacked.Tensors, Does.Not.ContainKey($"model.layers.1.{module}.0.{matrices[0]}.weight"));
        Assert.That(Text(stacked, degree), Is.EqualTo(Text(single, 1)));
    }

    [Test]
    public void Fused_GateAboveUp_HasTheBitsOfOneTensorForAProjection()
    {
        ModelConfig config = OddModels.Create("mixtral").Config with { Architecture = "granitemoe", Experts = OddModels.Experts(5, 2, 170) with { Renormalises = true, SharedIntermediate = 90 } };
        using RandomCheckpoint fused = new(config), apart = new(config);
        for (int layer = 0; layer < config.Layers; layer++)
        {
            string block = $"model.layers.{layer}.";
            apart.Divide($"{block}block_sparse_moe.input_linear.weight", 5, $"{block}mlp.experts.gate_proj.weight", $"{block}mlp.experts.up_proj.weight");
            apart.Divide($"{block}block_sparse_moe.output_linear.weight", 5, $"{block}mlp.experts.down_proj.weight");
            apart.Divide($"{block}shared_mlp.input_linear.weight", 1, $"{block}shared_mlp.gate_proj.weight", $"{block}shared_mlp.up_proj.weight");
            apart.Divide($"{block}shared_mlp.output_linear.weight", 1, $"{block}shared_mlp.down_proj.weight");
        }
        Assert.That(Text(apart, 2), Is.EqualTo(Text(fused, 1)));
    }

    [Test]
    public void Threads_AnyNumber_SameBits([Values("mixtral", "gpt_oss")] string name)
    {
        using RandomCheckpoint checkpoint = OddModels.Create(name);
        string expected = Text(checkpoint, 1);
        foreach (int threads in new[] { 2, 3 })
            Assert.That(Text(checkpoint, 1, RankSetup.CpuDefault with { Backend = () => new CpuBackend(threads) }), Is.EqualTo(expected), $"{threads} threads");
    }

    [Test]
    public void Rebalanced_FromHeldWeights_ReadsLittleAndHasTheSameBits()
    {
        using RandomCheckpoint checkpoint = OddModels.Create("mixtral");
        using CpuBackend ops = new(threads: 1);
        using Collectives.ICommunicator comm = Collectives.Local.LocalGroup.Create(1, TimeSpan.FromSeconds(10), epoch: 1)[0];
        ShardPlan plan = new(checkpoint.Config, Partition.Even(checkpoint.Config, 1), 0);
        long all;
        Weights.HeldWeights held;
        using (DenseTransformer first = Weights.WeightLoader.Load(checkpoint, plan, ops, comm, new ModelLimits(128, 64)))
        {
            all = first.ReadBytes;
            held = first.TakeWeights();
        }
        using DenseTransformer second = Weights.WeightLoader.Load(checkpoint, plan, ops, comm, new ModelLimits(128, 64), before: held);
        Assert.That(second.ReadBytes, Is.LessThan(all / 50), "routers' biases and the like, which are small");
    }

    [Test]
    public void Load_OnADeviceWithoutExperts_IsRefusedByName([Values("mixtral", "gpt_oss")] string name)
    {
        using RandomCheckpoint checkpoint = OddModels.Create(name);
        ModelLoadException fault = Assert.Throws<ModelLoadException>(() => RankGroup.RunAlone(checkpoint, RankSetup.CudaEmulated, [Job]))!;
        Assert.That(fault.Message, Does.Contain(name).And.Contain("mixtures of experts").And.Contain("cuda"));
    }

    private static string Text(ModelCheckpoint checkpoint, int degree, RankSetup? setup = null) =>
        RankGroup.Run(checkpoint, Partition.Even(checkpoint.Config, degree), setup ?? RankSetup.CpuDefault, [Job])[0][0].ToString();
}
