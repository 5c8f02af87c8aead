namespace TpServe.Model;

/// <summary>What sizes the tables of a model beside its weights.</summary>
/// <param name="MaxModelLength">Longest sequence, in tokens: rows of the rotary tables.</param>
/// <param name="MaxStepTokens">Most tokens in one step.</param>
public sealed record ModelLimits(int MaxModelLength, int MaxStepTokens);
