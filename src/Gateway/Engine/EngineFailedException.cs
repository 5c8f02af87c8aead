namespace TpServe.Gateway.Engine;

/// <summary>The engine's loop met a fault of TpServe itself; the process ends.</summary>
public sealed class EngineFailedException(string message) : Exception(message);
