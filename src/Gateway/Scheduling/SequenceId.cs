namespace TpServe.Gateway.Scheduling;

/// <summary>Names a sequence towards the workers; never used twice while the gateway lives.</summary>
public readonly record struct SequenceId(ulong Value);
