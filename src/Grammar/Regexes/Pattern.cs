using TpServe.Grammar.Automata;
using TpServe.Grammar.Syntax;

namespace TpServe.Grammar.Regexes;

/// <summary>A pattern as an automaton over characters.</summary>
internal static class Pattern
{
    /// <summary>Texts that match from their first character to their last.</summary>
    public static Dfa Whole(string pattern, CompileBudget budget, string place = "")
    {
        SyntaxNode tree = RegexParser.Parse(pattern, budget, place, dotIsEcma: false);
        return Build(tree, budget, search: false);
    }

    /// <summary>Texts in which the pattern matches somewhere, as JSON Schema's pattern means it: in every dialect, or where wide in any.</summary>
    public static Dfa Search(string pattern, CompileBudget budget, string place, bool wide = false)
    {
        SyntaxNode tree = RegexParser.Parse(pattern, budget, place, dotIsEcma: true, wide);
        return Build(tree, budget, search: true);
    }

    private static Dfa Build(SyntaxNode tree, CompileBudget budget, bool search)
    {
        Nfa nfa = new(budget);
        SyntaxWriter writer = new(nfa, AddChars);
        int start = nfa.AddState(), end = nfa.AddState();
        nfa.Accept(end);
        if (search)
        {
            int before = nfa.AddState(), match = nfa.AddState(), after = nfa.AddState();
            nfa.AddEpsilon(start, match);
            AddChars(start, CharSet.All, before);
            AddChars(before, CharSet.All, before);
            nfa.AddEpsilon(before, match);
            writer.Write(tree, match, after);
            AddChars(after, CharSet.All, after);
            nfa.AddEpsilon(after, end);
        }
        else
            writer.Write(tree, start, end);
        return nfa.Determinize(start).Minimize();

        void AddChars(int from, CharSet set, int to)
        {
            foreach ((int lo, int hi) in set.Ranges)
                nfa.AddRange(from, lo, hi, to);
        }
    }
}
