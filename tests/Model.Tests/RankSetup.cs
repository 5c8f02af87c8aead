using TpServe.Kernels;

namespace TpServe.Model.Tests;

/// <summary>How the ranks of a test are built.</summary>
internal sealed record RankSetup
{
    /// <summary>Makes a rank's device.</summary>
    public required Func<ITensorBackend> Backend { get; init; }

    public ElementType KvType { get; init; } = ElementType.Float32;

    public int BlockTokens { get; init; } = 16;

    public int Blocks { get; init; } = 64;

    public ModelLimits Limits { get; init; } = new(MaxModelLength: 512, MaxStepTokens: 1024);
}
