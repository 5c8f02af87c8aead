using TpServe.Grammar.Automata;
using TpServe.Grammar.Pushdown;
using TpServe.Grammar.Syntax;

namespace TpServe.Grammar.Gbnf;

/// <summary>Rules of a grammar become rules of a program.</summary>
/// <remarks>
/// A small rule that does not reach itself is written where it is called: one deterministic automaton instead of calls, so that most of a grammar
/// needs no stack.
/// </remarks>
internal sealed class GbnfCompiler
{
    private const long LargestInlined = 400;

    private readonly ProgramBuilder _builder;
    private readonly IReadOnlyList<GbnfRule> _rules;
    private readonly int[] _programRules;
    private readonly long[] _sizes; // of the tree with what is written into it; 0 = not known yet, -1 = being found
    private readonly bool[] _inlined;

    private GbnfCompiler(IReadOnlyList<GbnfRule> rules, ProgramBuilder builder)
    {
        _rules = rules;
        _builder = builder;
        _programRules = [.. rules.Select(rule => builder.Declare(rule.Name))];
        _sizes = new long[rules.Count];
        _inlined = new bool[rules.Count];
    }

    /// <summary>Adds the rules; the result is the root's number.</summary>
    public static int Compile(string grammar, ProgramBuilder builder)
    {
        IReadOnlyList<GbnfRule> rules = GbnfParser.Parse(grammar, builder.Budget);
        int root = rules.Index().Where(rule => rule.Item.Name == "root").Select(rule => rule.Index).FirstOrDefault(-1);
        if (root < 0)
            throw new GrammarException(GrammarErrorKind.Invalid, "root", "", "the grammar has no such rule");
        GbnfCompiler compiler = new(rules, builder);
        for (int rule = 0; rule < rules.Count; rule++)
            compiler.Measure(rule, 0);
        for (int rule = 0; rule < rules.Count; rule++)
            if (!compiler._inlined[rule] || rule == root)
                builder.Define(compiler._programRules[rule], compiler.Automaton(rule));
        return compiler._programRules[root];
    }

    private Dfa Automaton(int rule)
    {
        Nfa nfa = new(_builder.Budget);
        Spelling spelling = new(nfa, insideJson: false);
        SyntaxWriter writer = null!;
        writer = new SyntaxWriter(nfa, spelling.Add, (from, called, to) =>
        {
            if (!_inlined[called])
                nfa.AddSymbol(from, ProgramBuilder.FirstCall + _programRules[called], to);
            else
            {
                // States of its own around it: what is written must not be entered or left elsewhere.
                int begin = nfa.AddState(), end = nfa.AddState();
                nfa.AddEpsilon(from, begin);
                nfa.AddEpsilon(end, to);
                writer.Write(_rules[called].Body!, begin, end);
            }
        });
        int start = nfa.AddState(), final = nfa.AddState();
        writer.Write(_rules[rule].Body!, start, final);
        nfa.Accept(final);
        return nfa.Determinize(start).Minimize();
    }

    // Finds a rule's size and whether it is written into others. A rule met while it is being measured reaches itself.
    private long Measure(int rule, int depth)
    {
        if (_sizes[rule] != 0)
            return _sizes[rule] < 0 ? long.MaxValue / 4 : _sizes[rule];
        if (depth > _builder.Budget.Limits.Depth)
            return long.MaxValue / 4;
        _sizes[rule] = -1;
        long size = Size(_rules[rule].Body!, depth);
        _inlined[rule] = size <= LargestInlined;
        return _sizes[rule] = Math.Max(1, size);
    }

    private long Size(SyntaxNode node, int depth)
    {
        _builder.Budget.Spend(1);
        return node switch
        {
            SyntaxNode.Sequence sequence => Sum(sequence.Parts),
            SyntaxNode.Choice choice => Sum(choice.Options),
            SyntaxNode.Repeat repeat => Math.Min(Size(repeat.Inner, depth) * Math.Max(repeat.Min, repeat.Max ?? 1) + 2, long.MaxValue / (1 << 20)),
            // A rule that is called and not written in is one edge, unless it is the one being measured: then this one must stay a rule.
            SyntaxNode.Call call => CallSize(call.Rule),
            _ => 1,
        };

        long Sum(IReadOnlyList<SyntaxNode> parts)
        {
            long sum = 1;
            foreach (SyntaxNode part in parts)
                sum = Math.Min(sum + Size(part, depth), long.MaxValue / (1 << 20));
            return sum;
        }

        long CallSize(int rule)
        {
            long size = Measure(rule, depth + 1);
            return size >= long.MaxValue / 4 ? long.MaxValue / (1 << 20) : size <= LargestInlined ? size : 1;
        }
    }
}
