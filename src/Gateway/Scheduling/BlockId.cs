namespace TpServe.Gateway.Scheduling;

/// <summary>A block of the paged KV cache: the same index on every rank and in every layer.</summary>
public readonly record struct BlockId(int Value);
