using NUnit.Framework;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Cuda.Driver;
using TpServe.Kernels.Reference;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>Attention on a GPU's tensor cores, as the backend chooses and cuts it: against the oracle, and the same bits in decode, prefill and mixed steps.</summary>
[Category("Gpu")]
[NonParallelizable]
public sealed class AttentionGpuTests
{
    [TestCase(64, 3, 3, 16, 0, ElementType.Float16)]
    [TestCase(128, 2, 4, 32, 0, ElementType.BFloat16)]
    [TestCase(80, 1, 1, 16, 100, ElementType.Float16)]
    [TestCase(256, 1, 12, 16, 0, ElementType.BFloat16)]
    public void Attention_DecodePrefillAndMixedSteps_MatchTheOracleWithTheSameBits(int headDim, int kvHeads, int group, int blockTokens, int window, ElementType type)
    {
        if (!CudaDevices.HasGpu)
            Assert.Ignore("no NVIDIA GPU in this machine");
        using CudaBackend backend = CudaDevices.Open("gpu");
        using ReferenceBackend oracle = new();
        using DeviceTensors device = new(backend);
        using HostTensors host = new();
        AttentionOnDevice scene = new(
            backend, oracle, device, host, new(headDim, kvHeads, group) { BlockTokens = blockTokens, Window = window, Softcap = window > 0 ? 5 : 0, Type = type }, 300, 1, 77, 500);

        (int, int)[] all = scene.Everything(), decode = [(0, 299), (1, 0), (2, 76), (3, 499)], mixed = [(0, 299), (1, 0), (2, 70), (2, 71), (2, 72), (3, 499)];
        float[] whole = scene.Run(all);
        Assert.That(Numbers.Nmse(scene.Run(decode), scene.Oracle(decode, type)), Is.LessThan(type == ElementType.Float16 ? 5e-7 : 3e-5));
        Assert.That(scene.BitsOf(scene.Run(decode), decode, decode), Is.EqualTo(scene.BitsOf(whole, all, decode)), "decode");
        Assert.That(scene.BitsOf(scene.Run(mixed), mixed, mixed), Is.EqualTo(scene.BitsOf(whole, all, mixed)), "mixed");
        device.CheckGuards();
    }
}
