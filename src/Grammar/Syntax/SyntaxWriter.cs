using TpServe.Grammar.Automata;

namespace TpServe.Grammar.Syntax;

/// <summary>Writes a tree into an automaton, between two of its states (Thompson's construction).</summary>
/// <param name="nfa">Where to.</param>
/// <param name="chars">How a set of characters becomes edges: as code points, as UTF-8, or as the characters of a JSON string.</param>
/// <param name="call">How a call becomes edges.</param>
internal sealed class SyntaxWriter(Nfa nfa, Action<int, CharSet, int> chars, Action<int, int, int>? call = null)
{
    public void Write(SyntaxNode node, int from, int to)
    {
        nfa.Budget.Spend(1);
        switch (node)
        {
            case SyntaxNode.Chars single:
                chars(from, single.Set, to);
                break;
            case SyntaxNode.Sequence sequence:
                WriteSequence(sequence.Parts, from, to);
                break;
            case SyntaxNode.Choice choice:
                foreach (SyntaxNode option in choice.Options)
                    Write(option, from, to);
                break;
            case SyntaxNode.Repeat repeat:
                WriteRepeat(repeat, from, to);
                break;
            case SyntaxNode.TextBegin:
                nfa.AddBegin(from, to);
                break;
            case SyntaxNode.TextEnd:
                nfa.AddEnd(from, to);
                break;
            case SyntaxNode.Call called:
                call!(from, called.Rule, to);
                break;
        }
    }

    private void WriteSequence(IReadOnlyList<SyntaxNode> parts, int from, int to)
    {
        if (parts.Count == 0)
            nfa.AddEpsilon(from, to);
        for (int i = 0; i < parts.Count; i++)
        {
            int next = i == parts.Count - 1 ? to : nfa.AddState();
            Write(parts[i], from, next);
            from = next;
        }
    }

    private void WriteRepeat(SyntaxNode.Repeat repeat, int from, int to)
    {
        for (int i = 0; i < repeat.Min; i++)
        {
            int next = nfa.AddState();
            Write(repeat.Inner, from, next);
            from = next;
        }
        if (repeat.Max is int max)
        {
            for (int i = repeat.Min; i < max; i++)
            {
                nfa.AddEpsilon(from, to);
                int next = nfa.AddState();
                Write(repeat.Inner, from, next);
                from = next;
            }
            nfa.AddEpsilon(from, to);
            return;
        }
        // States of its own on both sides, so that no other edge enters or leaves the loop.
        int loop = nfa.AddState(), back = nfa.AddState();
        nfa.AddEpsilon(from, loop);
        Write(repeat.Inner, loop, back);
        nfa.AddEpsilon(back, loop);
        nfa.AddEpsilon(loop, to);
    }
}
