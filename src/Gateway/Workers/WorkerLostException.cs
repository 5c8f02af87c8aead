namespace TpServe.Gateway.Workers;

/// <summary>The group's epoch has died: a rank exited, hung or disagreed. Names the rank and what happened to it.</summary>
public sealed class WorkerLostException(string message, Exception? inner = null) : Exception(message, inner);
