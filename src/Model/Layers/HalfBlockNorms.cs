namespace TpServe.Model.Layers;

/// <summary>The norms around one half of a block; null = none there.</summary>
/// <param name="Input">Before the half.</param>
/// <param name="Output">On the half's output, before it is added to the stream.</param>
public sealed record HalfBlockNorms(RmsNorm? Input, RmsNorm? Output);
