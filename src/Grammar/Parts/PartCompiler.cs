using System.Text;
using TpServe.Grammar.Automata;
using TpServe.Grammar.Gbnf;
using TpServe.Grammar.Masks;
using TpServe.Grammar.Pushdown;
using TpServe.Grammar.Regexes;
using TpServe.Grammar.Schemas;

namespace TpServe.Grammar.Parts;

/// <summary>Parts to rules: what is regular is written into one automaton, so that free text and the mark that ends it become one place; schemas and grammars are calls.</summary>
internal sealed class PartCompiler
{
    private readonly ProgramBuilder _builder;
    private readonly Nfa _nfa;

    private PartCompiler(ProgramBuilder builder)
    {
        _builder = builder;
        _nfa = new Nfa(builder.Budget);
    }

    /// <summary>Adds the rules; the result is the root's number.</summary>
    public static int Compile(GrammarPart part, ProgramBuilder builder)
    {
        PartCompiler compiler = new(builder);
        int root = builder.Declare("output");
        int start = compiler._nfa.AddState(), end = compiler._nfa.AddState();
        compiler._nfa.Accept(end);
        compiler.Write(part, start, end, 0);
        builder.Define(root, compiler._nfa.Determinize(start).Minimize());
        return root;
    }

    private void Write(GrammarPart part, int from, int to, int depth)
    {
        if (depth > _builder.Budget.Limits.Depth)
            throw GrammarException.Limit("depth of parts", _builder.Budget.Limits.Depth);
        switch (part)
        {
            case GrammarPart.Text text:
                _nfa.AddPath(from, Encoding.UTF8.GetBytes(text.Value), to);
                break;
            case GrammarPart.Special special:
                _nfa.AddPath(from, SpecialTokens.BytesOf(special.Token), to);
                break;
            case GrammarPart.Sequence sequence:
                foreach (GrammarPart one in sequence.Parts)
                {
                    int next = _nfa.AddState();
                    Write(one, from, next, depth + 1);
                    from = next;
                }
                _nfa.AddEpsilon(from, to);
                break;
            case GrammarPart.Choice choice:
                foreach (GrammarPart one in choice.Parts)
                {
                    // States of its own on both sides: what loops inside must not be entered from a neighbour.
                    int begin = _nfa.AddState(), end = _nfa.AddState();
                    _nfa.AddEpsilon(from, begin);
                    Write(one, begin, end, depth + 1);
                    _nfa.AddEpsilon(end, to);
                }
                break;
            case GrammarPart.Repeat repeat:
                int loop = _nfa.AddState(), back = _nfa.AddState();
                _nfa.AddEpsilon(from, loop);
                Write(repeat.Part, loop, back, depth + 1);
                Write(repeat.Between, back, loop, depth + 1);
                _nfa.AddEpsilon(back, to);
                break;
            case GrammarPart.Without without:
                SchemaCompiler.Embed(_nfa, ByteAutomaton.Of(Lacking(without.Mark), insideJson: false), from, to);
                break;
            case GrammarPart.Regex regex:
                SchemaCompiler.Embed(_nfa, ByteAutomaton.Of(Pattern.Whole(regex.Pattern, _builder.Budget), insideJson: false), from, to);
                break;
            case GrammarPart.Gbnf gbnf:
                Call(from, GbnfCompiler.Compile(gbnf.Grammar, _builder), to);
                break;
            case GrammarPart.Schema schema:
                try
                {
                    Call(from, SchemaCompiler.Compile(schema.Json, _builder), to);
                }
                catch (GrammarException fault)
                {
                    fault.Part ??= schema.Name;
                    throw;
                }
                break;
            default:
                throw new ArgumentException($"Unknown part {part.GetType().Name}.", nameof(part));
        }
    }

    private void Call(int from, int rule, int to) => _nfa.AddSymbol(from, ProgramBuilder.FirstCall + rule, to);

    // A state for each number of the mark's first characters that the text ends with (Knuth, Morris and Pratt).
    private Dfa Lacking(string? mark)
    {
        if (mark is null)
            return Dfa.OfLength(0, null, _builder.Budget);
        int[] runes = [.. mark.EnumerateRunes().Select(rune => rune.Value)];
        if (runes.Length == 0)
            throw new GrammarException(GrammarErrorKind.Invalid, "mark", "", "it is empty");
        int[] alphabet = [.. runes.Distinct().Order()];
        List<DfaEdge[]> edges = [];
        for (int state = 0; state < runes.Length; state++)
        {
            List<DfaEdge> made = [];
            foreach ((int lo, int hi) in CharSet.All.Except(CharSet.Of(alphabet.Select(rune => (rune, rune)))).Ranges)
                made.Add(new DfaEdge(lo, hi, 0));
            foreach (int rune in alphabet)
                if (Overlap(state, rune) is var next && next < runes.Length)
                    made.Add(new DfaEdge(rune, rune, next));
            edges.Add([.. made.OrderBy(edge => edge.Lo)]);
        }
        _builder.Budget.AddStates(runes.Length);
        return new Dfa(edges, [.. runes.Select(_ => true)], _builder.Budget);

        int Overlap(int state, int rune)
        {
            _builder.Budget.Spend(runes.Length);
            int[] text = [.. runes.Take(state), rune];
            for (int length = text.Length; length > 0; length--)
                if (text.AsSpan(text.Length - length).SequenceEqual(runes.AsSpan(0, length)))
                    return length;
            return 0;
        }
    }
}
