namespace TpServe.Tokenization.Normalizers;

/// <summary>Rewrites text before it is cut and encoded.</summary>
/// <remarks>
/// Threads  implementations are immutable.
/// </remarks>
internal interface INormalizer
{
    /// <summary>The text, rewritten. Never ill-formed UTF-16 where the text is not.</summary>
    string Normalize(string text);

    /// <summary>As <see cref="Normalize"/> for text that continues another: nothing is added in front or stripped from the ends.</summary>
    string NormalizeContinuation(string text) => Normalize(text);
}
