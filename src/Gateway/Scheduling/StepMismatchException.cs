namespace TpServe.Gateway.Scheduling;

/// <summary>A worker's StepResult does not answer the plan it was sent: the group cannot be trusted any more.</summary>
public sealed class StepMismatchException(string message) : Exception(message);
