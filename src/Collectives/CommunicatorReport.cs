namespace TpServe.Collectives;

/// <summary>Which transport a group uses, why, and what it cost at start.</summary>
/// <param name="Transport">"local", "cuda-ipc", "shm", "ring".</param>
/// <param name="Reason">Why this one, for people.</param>
/// <param name="AllReduceMicroseconds">Median of a small canonical sum (576 floats) measured at start; 0 with one rank.</param>
public sealed record CommunicatorReport(string Transport, string Reason, double AllReduceMicroseconds);
