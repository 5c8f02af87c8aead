namespace TpServe.Gateway.Tokenization.Normalizers;

/// <summary>Several normalizers, one after the other.</summary>
internal sealed class NormalizerSequence(IReadOnlyList<INormalizer> steps) : INormalizer
{
    public string Normalize(string text) => steps.Aggregate(text, (current, step) => step.Normalize(current));

    public string NormalizeContinuation(string text) => steps.Aggregate(text, (current, step) => step.NormalizeContinuation(current));
}
