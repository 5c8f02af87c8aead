namespace TpServe.Worker;

/// <summary>A plan does not fit what this rank knows: gateway and rank have drifted apart, and the step stream ends.</summary>
public sealed class PlanMismatchException(string message) : Exception(message);
