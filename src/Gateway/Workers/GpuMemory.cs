using TpServe.Checkpoint;
using TpServe.Gateway.Devices;
using TpServe.Sharding;

namespace TpServe.Gateway.Workers;

/// <summary>How many tokens of KV cache the GPUs of a group hold beside the weights. Pure.</summary>
internal static class GpuMemory
{
    /// <summary>Bytes of a rank's weights on a GPU, whose layout of some block formats takes more than the file's.</summary>
    public static long WeightBytes(ModelCheckpoint checkpoint, ShardPlan shard) => ShardSizes.WeightBytes(checkpoint, shard, TensorBytes);

    /// <summary>Bytes of a whole tensor on a GPU.</summary>
    public static long TensorBytes(TensorInfo tensor) => (long)(tensor.Shape.Aggregate(1.0, (product, extent) => product * extent) * BitsPerWeight(tensor.Type) / 8);

    /// <summary>Bits a weight takes on a GPU: the CUDA backend's layouts, values and scales together.</summary>
    public static double BitsPerWeight(TensorType type) => type switch
    {
        TensorType.Q4_K => 5.5,
        TensorType.Q5_0 => 8.5,
        TensorType.Q3_K or TensorType.Q5_1 or TensorType.Q6_K => 9,
        TensorType.Q2_K or TensorType.Q5_K => 9.5,
        TensorType.IQ4_XS or TensorType.MXFP4 or TensorType.NVFP4 or TensorType.IQ3_S or TensorType.IQ3_XXS or TensorType.IQ2_S or TensorType.IQ2_XS or TensorType.IQ2_XXS or TensorType.IQ1_S or TensorType.IQ1_M => 5,
        TensorType.TQ1_0 or TensorType.TQ2_0 or TensorType.Q1_0 or TensorType.Q2_0 => 8.5,
        TensorType.Q8_K or TensorType.INT4_F16 or TensorType.INT4_BF16 or TensorType.INT8 => 9,
        TensorType.FP8 => 32,
        _ => 8.0 * type.BlockBytes() / type.BlockElements(),
    };

    /// <summary>Tokens every rank can hold: the fullest GPU decides.</summary>
    /// <param name="devices">Each rank's GPU.</param>
    /// <param name="utilization">Share of what is free that weights and cache may take.</param>
    /// <param name="weightBytes">By rank.</param>
    /// <param name="tokenBytes">Keys and values of one token, by rank.</param>
    /// <param name="tokenElements">Most elements of one token's keys in one layer on a rank.</param>
    /// <exception cref="ShardingException">The weights do not fit; names the GPU, the need and the limit.</exception>
    public static long Tokens(DevicePlan devices, double utilization, IReadOnlyList<long> weightBytes, IReadOnlyList<long> tokenBytes, int tokenElements)
    {
        // A layer's keys stay below 2^31 elements, so that kernels may index them with 32 bits.
        long tokens = int.MaxValue / Math.Max(tokenElements, 1);
        foreach (IGrouping<string, int> gpu in Enumerable.Range(0, devices.Degree).GroupBy(rank => devices.Ranks[rank].Gpu!.Uuid))
        {
            RankDevice device = devices.Ranks[gpu.First()];
            long usable = (long)(device.Gpu!.FreeBytes * utilization), weights = gpu.Sum(rank => weightBytes[rank]), token = gpu.Sum(rank => tokenBytes[rank]);
            if (weights + token > usable)
                throw new ShardingException(FormattableString.Invariant(
                    $"{device.Name}: the weights of {Ranks([.. gpu])} take {weights >> 20} MiB; {usable >> 20} MiB may be used ({utilization:P0} of the {device.Gpu.FreeBytes >> 20} MiB free on {device.Gpu.Name}). Use more GPUs, or raise --gpu-memory-utilization."));
            if (token > 0)
                tokens = Math.Min(tokens, (usable - weights) / token);
        }
        return tokens;
    }

    private static string Ranks(int[] ranks) => (ranks.Length == 1 ? "rank " : "ranks ") + string.Join(", ", ranks);
}
