using System.Text;
using TpServe.Tokenization.Unicode;

namespace TpServe.Tokenization.Models;

/// <summary>A bound from below on the ids of a text, found without encoding it: each character costs one over the length of the longest token it lies in.</summary>
/// <remarks>
/// A token of n characters costs at most n · 1/n = 1, since none of them lies in no longer one; so the sum over a text is no more than its tokens. By the longest
/// token of all a text would seem cheap for the sake of one token of many spaces.
/// Numerics sums in float64; the bound is rounded down, with room for their rounding.
/// </remarks>
internal sealed class TokenCosts
{
    private const double Slack = 1e-3;

    private readonly double[] _ofUnit = new double[0x10000];
    private readonly double[] _ofByte = new double[0x100];

    /// <param name="vocabulary">What a model encodes pieces to.</param>
    /// <param name="added">Tokens that are found in the text before it is cut, which hold bytes of it too.</param>
    public TokenCosts(Vocabulary vocabulary, IEnumerable<string> added)
    {
        // 1. Units as the model sees them. One that no token holds is a token by itself, or is one half of such a character.
        int[] longest = new int[_ofUnit.Length];
        for (int id = 0; id < vocabulary.Size; id++)
            foreach (char unit in vocabulary.TextOf(id) ?? "")
                longest[unit] = Math.Max(longest[unit], vocabulary.TextOf(id)!.Length);
        for (int unit = 0; unit < longest.Length; unit++)
            _ofUnit[unit] = 1.0 / Math.Max(longest[unit], 2);

        // 2. Bytes of the text, where the model sees those.
        for (int value = 0; value < _ofByte.Length; value++)
            _ofByte[value] = _ofUnit[ByteAlphabet.All[value]];
        foreach (string token in added)
        {
            byte[] bytes = Encoding.UTF8.GetBytes(token);
            foreach (byte value in bytes)
                _ofByte[value] = Math.Min(_ofByte[value], 1.0 / bytes.Length);
        }
    }

    /// <summary>Ids that a piece has at least.</summary>
    public int OfPiece(ReadOnlySpan<char> piece)
    {
        double sum = 0;
        foreach (char unit in piece)
            sum += _ofUnit[unit];
        return Least(sum);
    }

    /// <summary>Ids that a text has at least, whose model sees its bytes.</summary>
    public int OfBytes(string text)
    {
        double sum = 0;
        Span<byte> bytes = stackalloc byte[4];
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (rune.IsAscii)
            {
                sum += _ofByte[rune.Value];
                continue;
            }
            foreach (byte value in bytes[..rune.EncodeToUtf8(bytes)])
                sum += _ofByte[value];
        }
        return Least(sum);
    }

    private static int Least(double sum) => (int)Math.Ceiling(sum * (1 - 1e-9) - Slack);
}
