using System.Globalization;

namespace TpServe.Tokenization.Decoders;

/// <summary>The spelling of byte pieces, "&lt;0x41&gt;".</summary>
internal static class BytePiece
{
    /// <summary>The byte a token stands for; false where it is no byte piece.</summary>
    public static bool TryParse(string token, out byte value)
    {
        value = 0;
        return token.Length == 6 && token.StartsWith("<0x", StringComparison.Ordinal) && token[5] == '>' &&
            byte.TryParse(token.AsSpan(3, 2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out value);
    }
}
