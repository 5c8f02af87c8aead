namespace TpServe.Collectives;

/// <summary>Two ranks are in different operations, steps or shapes: a bug or a stale peer, found before any data is used.</summary>
public sealed class CollectiveMismatchException(string message) : GroupLostException(message);
