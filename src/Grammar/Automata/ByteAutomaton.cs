using System.Text;

namespace TpServe.Grammar.Automata;

/// <summary>From automata over characters to automata over bytes.</summary>
internal static class ByteAutomaton
{
    /// <summary>The same texts in UTF-8, or as the insides of JSON strings in their one canonical spelling.</summary>
    public static Dfa Of(Dfa characters, bool insideJson)
    {
        Nfa nfa = new(characters.Budget);
        Write(nfa, characters, new Spelling(nfa, insideJson), out int start, out int end);
        nfa.Accept(end);
        return nfa.Determinize(start).Minimize();
    }

    /// <summary>JSON strings, quotes included, whose characters an automaton accepts.</summary>
    public static Dfa JsonString(Dfa characters)
    {
        Nfa nfa = new(characters.Budget);
        int open = nfa.AddState(), closed = nfa.AddState();
        Write(nfa, characters, new Spelling(nfa, insideJson: true), out int start, out int end);
        nfa.AddSymbol(open, '"', start);
        nfa.AddSymbol(end, '"', closed);
        nfa.Accept(closed);
        return nfa.Determinize(open).Minimize();
    }

    /// <summary>Any of some texts.</summary>
    public static Dfa OfTexts(IEnumerable<string> texts, CompileBudget budget)
    {
        Nfa nfa = new(budget);
        int start = nfa.AddState(), end = nfa.AddState();
        foreach (string text in texts)
            nfa.AddPath(start, Encoding.UTF8.GetBytes(text), end);
        nfa.Accept(end);
        return nfa.Determinize(start).Minimize();
    }

    private static void Write(Nfa nfa, Dfa characters, Spelling spelling, out int start, out int end)
    {
        int[] states = [.. Enumerable.Range(0, characters.States).Select(_ => nfa.AddState())];
        end = nfa.AddState();
        for (int s = 0; s < characters.States; s++)
        {
            foreach (IGrouping<int, DfaEdge> edges in characters.Edges[s].GroupBy(edge => edge.Target))
                spelling.Add(states[s], CharSet.Of(edges.Select(edge => (edge.Lo, edge.Hi))), states[edges.Key]);
            if (characters.Accepts[s])
                nfa.AddEpsilon(states[s], end);
        }
        start = states[0];
    }
}
