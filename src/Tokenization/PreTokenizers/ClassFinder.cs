using System.Text;
using TpServe.Tokenization.Unicode;

namespace TpServe.Tokenization.PreTokenizers;

/// <summary>Every single code point of a class.</summary>
internal sealed class ClassFinder(CodePointSet members) : ISpanFinder
{
    public void FindAll(ReadOnlySpan<char> text, List<(int Start, int End)> matches)
    {
        for (int at = 0; at < text.Length;)
        {
            Rune.DecodeFromUtf16(text[at..], out Rune rune, out int length);
            if (members.Contains(rune.Value))
                matches.Add((at, at + length));
            at += length;
        }
    }
}
