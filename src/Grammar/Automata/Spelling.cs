using System.Globalization;
using System.Text;

namespace TpServe.Grammar.Automata;

/// <summary>Characters as bytes: plain UTF-8, or the one canonical way inside a JSON string.</summary>
/// <remarks>
/// Canonical means: what JSON lets stand raw stands raw; the quote, the backslash and control characters are escaped, by their short escape where they
/// have one. So every text has one spelling, and an automaton over characters becomes one over bytes without a second way to say the same.
/// </remarks>
internal sealed class Spelling(Nfa nfa, bool insideJson)
{
    private static readonly CharSet Escaped = CharSet.Of([(0, 0x1F), ('"', '"'), ('\\', '\\')]);

    private static readonly CharSet Ascii = CharSet.Of(0, 0x7F);

    private readonly Dictionary<(int To, int Bytes), int> _tails = [];
    private readonly Dictionary<int, int> _escapes = [];
    private readonly Dictionary<(int To, int Lead), int> _leads = [];

    /// <summary>Edges from a state to another for each character of a set.</summary>
    public void Add(int from, CharSet set, int to)
    {
        set = set.Intersect(CharSet.All);
        if (insideJson)
        {
            CharSet escaped = set.Intersect(Escaped);
            if (escaped.Ranges.AsSpan().SequenceEqual(Escaped.Ranges))
                nfa.AddSymbol(from, '\\', AnyEscape(to));
            else
                foreach ((int lo, int hi) in escaped.Ranges)
                    for (int c = lo; c <= hi; c++)
                        nfa.AddPath(from, Encoding.ASCII.GetBytes(EscapeOf(c)), to);
            set = set.Except(Escaped);
        }
        if (set.Ranges is [.., ( <= 0x80, 0xD7FF), (0xE000, CharSet.LastCodePoint)])
        {
            AddBeyondAscii(from, to);
            set = set.Intersect(Ascii);
        }
        foreach ((int lo, int hi) in set.Ranges)
            AddRange(from, lo, hi, to);
    }

    /// <summary>The canonical JSON string of a text, quotes and all.</summary>
    public static string JsonString(string text)
    {
        StringBuilder json = new("\"");
        foreach (Rune rune in text.EnumerateRunes())
            json.Append(Escaped.Contains(rune.Value) ? EscapeOf(rune.Value) : rune.ToString());
        return json.Append('"').ToString();
    }

    private static string EscapeOf(int c) => c switch
    {
        '"' => "\\\"",
        '\\' => "\\\\",
        '\b' => "\\b",
        '\f' => "\\f",
        '\n' => "\\n",
        '\r' => "\\r",
        '\t' => "\\t",
        _ => string.Create(CultureInfo.InvariantCulture, $"\\u{c:x4}"),
    };

    private void AddRange(int from, int lo, int hi, int to)
    {
        foreach (int last in (ReadOnlySpan<int>)[0x7F, 0x7FF, 0xFFFF])
            if (lo <= last && hi > last)
            {
                AddRange(from, lo, last, to);
                AddRange(from, last + 1, hi, to);
                return;
            }
        Span<byte> first = stackalloc byte[4], final = stackalloc byte[4];
        int length = new Rune(lo).EncodeToUtf8(first);
        new Rune(hi).EncodeToUtf8(final);
        AddBytes(from, first[..length], final[..length], to);
    }

    private void AddBytes(int from, ReadOnlySpan<byte> lo, ReadOnlySpan<byte> hi, int to)
    {
        if (lo.Length == 1)
        {
            nfa.AddRange(from, lo[0], hi[0], to);
            return;
        }
        if (lo[0] == hi[0])
        {
            int next = nfa.AddState();
            nfa.AddSymbol(from, lo[0], next);
            AddBytes(next, lo[1..], hi[1..], to);
            return;
        }
        int least = lo[0], most = hi[0];
        if (lo[1..].ContainsAnyExcept((byte)0x80))
        {
            int next = nfa.AddState();
            nfa.AddSymbol(from, least++, next);
            AddBytes(next, lo[1..], stackalloc byte[] { 0xBF, 0xBF, 0xBF }[..(lo.Length - 1)], to);
        }
        if (hi[1..].ContainsAnyExcept((byte)0xBF))
        {
            int next = nfa.AddState();
            nfa.AddSymbol(from, most--, next);
            AddBytes(next, stackalloc byte[] { 0x80, 0x80, 0x80 }[..(lo.Length - 1)], hi[1..], to);
        }
        if (least <= most)
            nfa.AddRange(from, least, most, Tail(to, lo.Length - 1));
    }

    // All characters of more than one byte: the same few states serve every state from which they lead to another.
    private void AddBeyondAscii(int from, int to)
    {
        nfa.AddRange(from, 0xC2, 0xDF, Tail(to, 1));
        nfa.AddSymbol(from, 0xE0, Lead(to, 0xE0, 0xA0, 0xBF, 1));
        nfa.AddRange(from, 0xE1, 0xEC, Tail(to, 2));
        nfa.AddSymbol(from, 0xED, Lead(to, 0xED, 0x80, 0x9F, 1));
        nfa.AddRange(from, 0xEE, 0xEF, Tail(to, 2));
        nfa.AddSymbol(from, 0xF0, Lead(to, 0xF0, 0x90, 0xBF, 2));
        nfa.AddRange(from, 0xF1, 0xF3, Tail(to, 3));
        nfa.AddSymbol(from, 0xF4, Lead(to, 0xF4, 0x80, 0x8F, 2));
    }

    private int Lead(int to, int lead, int lo, int hi, int more)
    {
        if (!_leads.TryGetValue((to, lead), out int state))
        {
            _leads.Add((to, lead), state = nfa.AddState());
            nfa.AddRange(state, lo, hi, Tail(to, more));
        }
        return state;
    }

    // After a backslash: what is left of each canonical escape.
    private int AnyEscape(int to)
    {
        if (!_escapes.TryGetValue(to, out int state))
        {
            _escapes.Add(to, state = nfa.AddState());
            foreach ((int lo, int hi) in Escaped.Ranges)
                for (int c = lo; c <= hi; c++)
                    nfa.AddPath(state, Encoding.ASCII.GetBytes(EscapeOf(c)[1..]), to);
        }
        return state;
    }

    // The state from which so many continuation bytes lead to another.
    private int Tail(int to, int bytes)
    {
        if (bytes == 0)
            return to;
        if (!_tails.TryGetValue((to, bytes), out int state))
        {
            _tails.Add((to, bytes), state = nfa.AddState());
            nfa.AddRange(state, 0x80, 0xBF, Tail(to, bytes - 1));
        }
        return state;
    }
}
