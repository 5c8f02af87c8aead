namespace TpServe.Grammar.Masks;

/// <summary>Special tokens as bytes that no text has, so that an automaton over bytes can name them and nothing else can spell them.</summary>
/// <remarks>0xFF, which is never in UTF-8, then the id in three bytes. A vocabulary's ordinary tokens that hold 0xFF stand in no text and are left out.</remarks>
internal static class SpecialTokens
{
    /// <summary>Begins each.</summary>
    public const byte Lead = 0xFF;

    /// <summary>The bytes that stand for a special token.</summary>
    public static byte[] BytesOf(int token) => [Lead, (byte)(token >> 16), (byte)(token >> 8), (byte)token];
}
