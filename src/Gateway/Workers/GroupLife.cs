namespace TpServe.Gateway.Workers;

/// <summary>One life of the worker group: its epoch, and the KV cache that every rank has laid out alike.</summary>
public sealed record GroupLife(long Epoch, int KvBlocks, int BlockTokens);
