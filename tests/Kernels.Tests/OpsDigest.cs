using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using TpServe.Kernels.Cpu;
using TpServe.Kernels.Cpu.Ops;
using TpServe.Testing;

namespace TpServe.Kernels.Tests;

/// <summary>A hash of every operation's bits on fixed inputs, to compare between machines and vector widths.</summary>
public static class OpsDigest
{
    /// <summary>What tells the width of vectors in the first line.</summary>
    public const string WidthPrefix = "vectors ";

    private static readonly AttentionSettings[] Scenes =
    [
        new(64, 2, 3),
        new(64, 1, 4) { Type = ElementType.BFloat16, Window = 20 },
        new(80, 1, 1) { Type = ElementType.Float32, Softcap = 4 },
        new(8, 1, 2) { BlockTokens = 12 },
        new(64, 2, 3) { Type = ElementType.Q8 },
        new(32, 1, 2) { Type = ElementType.Q8, BlockTokens = 12 },
    ];

    /// <summary>First the vectors this process may use, then a line for each operation.</summary>
    public static IEnumerable<string> Lines()
    {
        yield return $"{WidthPrefix}{(Vector512.IsHardwareAccelerated ? 512 : Vector256.IsHardwareAccelerated ? 256 : 128)}";
        foreach ((string name, Func<HostTensors, CpuThreads, float[]> run) in Operations())
        {
            using HostTensors tensors = new();
            using CpuThreads threads = new(1);
            yield return $"{name} {Fnv1a(MemoryMarshal.AsBytes(run(tensors, threads).AsSpan())):X16}";
        }
    }

    private static IEnumerable<(string Name, Func<HostTensors, CpuThreads, float[]> Run)> Operations()
    {
        const int n = 3, columns = 333;
        float[] values = [.. Numbers.Uniform(n * columns, seed: 1).Select(v => 5 * v)], row = Numbers.Uniform(columns, seed: 2);
        yield return ("AddScaled", (t, threads) => After(t.Of(values, n, columns), x => AddScaled.Run(threads, x, t.Of(values, n, columns), 0.3f)));
        yield return ("AddRow", (t, threads) => After(t.Of(values, n, columns), x => AddRow.Run(threads, x, t.Of(row, 1, columns))));
        yield return ("Scale", (t, threads) => After(t.Of(values, n, columns), x => Scale.Run(threads, x, 1.1f)));
        yield return ("Softcap", (t, threads) => After(t.Of(values, n, columns), x => Softcap.Run(threads, x, 3f)));
        yield return ("RmsNorm", (t, threads) => After(t.Of(values, n, columns), x => RmsNorm.Run(threads, x, t.Of(row, 1, columns), 1e-5f, x)));
        yield return ("LayerNorm", (t, threads) => After(t.Of(values, n, columns), x => LayerNorm.Run(threads, x, t.Of(row, 1, columns), t.Of(row, 1, columns), 1e-5f, x)));
        foreach (PlainActivation activation in Enum.GetValues<PlainActivation>())
            yield return ($"Plain {activation}", (t, threads) => After(t.Of(values, n, columns), x => PlainActivations.Run(threads, x, activation)));
        yield return ("SumSquares", (t, threads) => After(t.Empty(n, 3), sums => RmsNorm.SumSquares(threads, t.Of(values, n, columns), 111, sums)));
        yield return ("NormBySums", (t, threads) => After(
            t.Of(values, n, columns), x => RmsNorm.NormBySums(threads, x, t.Of([1, 2, 3, 4, 5, 6, 7, 8, 9], n, 3), 999, t.Of(row, 1, columns), 1e-5f)));
        yield return ("Rope", (t, threads) => After(
            t.Of(values, n, columns), x => Rope.Run(threads, x, t.Of(0, 2, 1), t.Of(Numbers.Uniform(3 * 100, seed: 3), 3, 100), 111)));
        foreach (Activation activation in Enum.GetValues<Activation>())
            yield return ($"{activation}", (t, threads) => After(t.Empty(n, 160), y => GatedActivation.Run(threads, t.Of(values[..(n * 320)], n, 320), activation, y)));
        yield return ("TopK", (t, threads) => After(t.Empty(n, 40), best => TopK.Run(threads, t.Of(values, n, columns), 40, 0, best, t.Empty(n, 40, ElementType.Int32))));
        foreach (AttentionSettings settings in Scenes)
            yield return ($"Attention {settings.HeadDim} {settings.Type}", (_, threads) => Attend(settings, threads));
    }

    /// <summary>Fowler, Noll and Vo's hash, for those of .NET call libraries of the system, which an emulated one may lack.</summary>
    private static ulong Fnv1a(ReadOnlySpan<byte> bytes)
    {
        ulong hash = 14695981039346656037;
        foreach (byte value in bytes)
            hash = (hash ^ value) * 1099511628211;
        return hash;
    }

    private static float[] Attend(AttentionSettings settings, CpuThreads threads)
    {
        using AttentionScene scene = new(settings, [70, 1, 18]);
        return [.. scene.Run(threads, scene.Everything()), .. scene.Run(threads, [(0, 69), (2, 17)])];
    }

    private static float[] After(Tensor tensor, Action<Tensor> operation)
    {
        operation(tensor);
        return HostTensors.Values(tensor);
    }
}
