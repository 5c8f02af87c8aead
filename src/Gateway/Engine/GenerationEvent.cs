namespace TpServe.Gateway.Engine;

/// <summary>What happens to a request: one <see cref="StartedEvent"/>, then <see cref="DeltaEvent"/>s, one <see cref="FinishedEvent"/> for each output.</summary>
public abstract record GenerationEvent;
