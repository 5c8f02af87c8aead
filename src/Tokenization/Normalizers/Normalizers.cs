using System.Text;
using TpServe.Tokenization.Patterns;
using TpServe.Tokenization.Unicode;

namespace TpServe.Tokenization.Normalizers;

/// <summary>Rewrites text before it is cut and encoded.</summary>
/// <remarks>
/// Threads  implementations are immutable.
/// </remarks>
internal interface INormalizer
{
    /// <summary>True where every character of the text is in the result, as it is or in the byte alphabet.</summary>
    bool KeepsText => false;

    /// <summary>True where the text is written in the byte alphabet.</summary>
    bool WritesBytes => false;

    /// <summary>The text, rewritten. Never ill-formed UTF-16 where the text is not.</summary>
    string Normalize(string text);

    /// <summary>As <see cref="Normalize"/> for text that continues another: nothing is added in front or stripped from the ends.</summary>
    string NormalizeContinuation(string text) => Normalize(text);
}

/// <summary>Several normalizers, one after the other.</summary>
internal sealed class NormalizerSequence(IReadOnlyList<INormalizer> steps) : INormalizer
{
    public bool KeepsText => steps.All(step => step.KeepsText);

    public bool WritesBytes => steps is [.., { WritesBytes: true }];

    public string Normalize(string text) => Apply(text, (step, current) => step.Normalize(current));

    public string NormalizeContinuation(string text) => Apply(text, (step, current) => step.NormalizeContinuation(current));

    private string Apply(string text, Func<INormalizer, string, string> apply)
    {
        string current = text;
        foreach (INormalizer step in steps)
        {
            current = apply(step, current);
            GrowthLimit.Check(text.Length, current.Length, "The normalizer");
        }
        return current;
    }
}

/// <summary>Puts a text in front of every text that is not empty.</summary>
internal sealed class PrependNormalizer(string prefix) : INormalizer
{
    public bool KeepsText => true;

    public string Normalize(string text) => text.Length == 0 ? text : prefix + text;

    public string NormalizeContinuation(string text) => text;
}

/// <summary>Removes white space from the ends.</summary>
internal sealed class StripNormalizer(bool left, bool right) : INormalizer
{
    public string Normalize(string text)
    {
        int start = 0, end = text.Length;
        while (left && start < end && IsSpace(text[start]))
            start++;
        while (right && end > start && IsSpace(text[end - 1]))
            end--;
        return text[start..end];
    }

    public string NormalizeContinuation(string text) => text;

    // No white space lies above U+FFFF.
    private static bool IsSpace(char unit) => Rune.IsValid(unit) && UnicodeClasses.WhiteSpace.Contains(unit);
}

/// <summary>Replaces every occurrence of a text or match of a pattern; exactly one of both is given.</summary>
internal sealed class ReplaceNormalizer(string? literal, Pattern? pattern, string replacement) : INormalizer
{
    /// <summary>At most so many times as long can it make a text.</summary>
    public int Growth => literal switch
    {
        null => pattern!.MayBeEmpty ? replacement.Length + 1 : Math.Max(1, replacement.Length),
        "" => 1,
        _ => Math.Max(1, (replacement.Length + literal.Length - 1) / literal.Length),
    };

    public string Normalize(string text)
    {
        if (pattern is not null)
            return pattern.Replace(text, replacement);
        if (literal is not { Length: > 0 })
            return text;
        if (replacement.Length > literal.Length)
            GrowthLimit.Check(text.Length, text.Length + ((long)text.AsSpan().Count(literal) * (replacement.Length - literal.Length)), "Replace");
        return text.Replace(literal, replacement, StringComparison.Ordinal);
    }
}

/// <summary>Removes every code point of a set: StripAccents.</summary>
internal sealed class RemoveNormalizer(CodePointSet removed) : INormalizer
{
    public string Normalize(string text)
    {
        StringBuilder kept = new(text.Length);
        foreach (Rune rune in text.EnumerateRunes())
            if (!removed.Contains(rune.Value))
                kept.Append(rune);
        return kept.Length == text.Length ? text : kept.ToString();
    }
}

/// <summary>Lower case, code point by code point: a sigma at a word's end stays the ordinary one, U+0130 becomes i and a dot above.</summary>
/// <remarks>
/// Source   Rust's char::to_lowercase with Unicode 17; the pairs that Unicode 15 to 17 added are written out, since the host's tables may be older.
/// </remarks>
internal sealed class LowercaseNormalizer : INormalizer
{
    public string Normalize(string text)
    {
        StringBuilder lower = new(text.Length);
        foreach (Rune rune in text.EnumerateRunes())
        {
            if (rune.Value == 0x130)
                lower.Append("i\u0307");
            else
                lower.Append(Lower(rune));
        }
        return lower.ToString();
    }

    private static Rune Lower(Rune rune) => rune.Value switch
    {
        < 0x80 => Rune.ToLowerInvariant(rune),
        0x1C89 => new(0x1C8A),
        0xA7CB => new(0x264),
        0xA7CC or 0xA7CE or 0xA7D2 or 0xA7D4 or 0xA7DA => new(rune.Value + 1),
        0xA7DC => new(0x19B),
        >= 0x10D50 and <= 0x10D65 => new(rune.Value + 0x20),
        >= 0x16EA0 and <= 0x16EB8 => new(rune.Value + 0x1B),
        _ => Rune.ToLowerInvariant(rune),
    };
}

/// <summary>NFC, NFD, NFKC or NFKD of Unicode 9, whichever version the host's tables have.</summary>
/// <remarks>
/// Numerics decompositions and combining classes never change once assigned, so the host normalizes every stretch of code points that Unicode 9
///          has; any other one passes as it is and, as an unassigned one does, keeps its neighbours apart.
/// Source   Unicode Standard Annex 15, with the tables of the reference's crate.
/// </remarks>
internal sealed class UnicodeFormNormalizer : INormalizer
{
    private readonly NormalizationForm _form;

    /// <exception cref="TokenizerException">The process runs without the host's tables, where normalizing silently does nothing: every text beyond ASCII could get wrong ids.</exception>
    public UnicodeFormNormalizer(NormalizationForm form)
    {
        if (!"e\u0301".Normalize(NormalizationForm.FormC).Equals("\u00E9", StringComparison.Ordinal))
            throw new TokenizerException("This tokenizer normalizes text to a Unicode form, and the process runs in globalization-invariant mode, in which that does nothing. Unset DOTNET_SYSTEM_GLOBALIZATION_INVARIANT (and install libicu).");
        _form = form;
    }

    public string Normalize(string text)
    {
        if (Ascii.IsValid(text))
            return text;
        int from = 0;
        StringBuilder? result = null;
        for (int at = 0; at < text.Length;)
        {
            Rune.DecodeFromUtf16(text.AsSpan(at), out Rune rune, out int length);
            if (!OlderUnicode.Assigned.Contains(rune.Value) || IsNoncharacter(rune.Value))
            {
                result ??= new StringBuilder(text.Length);
                result.Append(text[from..at].Normalize(_form)).Append(rune);
                from = at + length;
            }
            at += length;
        }
        return result is null ? text.Normalize(_form) : result.Append(text[from..].Normalize(_form)).ToString();
    }

    // The host refuses some of them.
    private static bool IsNoncharacter(int codePoint) => (codePoint & 0xFFFE) == 0xFFFE || codePoint is >= 0xFDD0 and <= 0xFDEF;
}

/// <summary>Writes every UTF-8 byte as its character of the byte alphabet.</summary>
internal sealed class ByteLevelNormalizer : INormalizer
{
    public bool KeepsText => true;

    public bool WritesBytes => true;

    public string Normalize(string text) => ByteAlphabet.Encode(text);
}
