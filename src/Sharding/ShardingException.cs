namespace TpServe.Sharding;

/// <summary>A model cannot be split as asked: the process ends at start. The message names the thing, the value and the limit.</summary>
public sealed class ShardingException(string message) : Exception(message);
