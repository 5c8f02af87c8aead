namespace TpServe.Tokenization.Patterns;

/// <summary>Turns a pattern's tree into steps.</summary>
/// <remarks>
/// Errors   <see cref="TokenizerException"/> where counted repetitions make the program too long, or a lookbehind has no fixed width.
/// Source   Thompson 1968 as a backtracking machine (Cox 2009, "Regular Expression Matching: the Virtual Machine Approach").
/// </remarks>
internal sealed class PatternCompiler
{
    private const int MaxInstructions = 1 << 16;
    private const int MaxVisits = 4 * MaxInstructions;
    private readonly List<PatternInstruction> _code = [];
    private readonly string _source;
    private int _slots;
    private int _visits;

    private PatternCompiler(string source) => _source = source;

    /// <summary>The steps, and how many position slots they use.</summary>
    public static (PatternInstruction[] Code, int Slots) Compile(PatternNode root, string source)
    {
        PatternCompiler compiler = new(source);
        compiler.Emit(root);
        compiler.Add(new(PatternOperation.Accept));
        return ([.. compiler._code], compiler._slots);
    }

    private void Emit(PatternNode node)
    {
        if (++_visits > MaxVisits) // counted repetitions of nothing add no instructions
            throw TooLong();
        switch (node)
        {
            case PatternNode.Set set:
                Add(new(PatternOperation.Set, Set: set.Members));
                break;
            case PatternNode.Sequence sequence:
                foreach (PatternNode part in sequence.Parts)
                    Emit(part);
                break;
            case PatternNode.Alternation alternation:
                EmitAlternation(alternation.Choices);
                break;
            case PatternNode.Repeat repeat:
                EmitRepeat(repeat);
                break;
            case PatternNode.Look look:
                EmitLook(look);
                break;
            case PatternNode.Atomic atomic:
                EmitAtomic(atomic.Body);
                break;
            case PatternNode.Anchor anchor:
                Add(new(PatternOperation.Anchor, (int)anchor.Kind));
                break;
            default:
                throw new InvalidOperationException($"{node.GetType().Name} has no code.");
        }
    }

    private void EmitAlternation(IReadOnlyList<PatternNode> choices)
    {
        List<int> jumps = [];
        for (int i = 0; i < choices.Count - 1; i++)
        {
            int split = Add(new(PatternOperation.Split));
            Emit(choices[i]);
            jumps.Add(Add(new(PatternOperation.Jump)));
            _code[split] = new(PatternOperation.Split, split + 1, _code.Count, Set: choices[i].First);
        }
        Emit(choices[^1]);
        foreach (int jump in jumps)
            _code[jump] = new(PatternOperation.Jump, _code.Count);
    }

    private void EmitRepeat(PatternNode.Repeat repeat)
    {
        if (repeat.Body is PatternNode.Set set)
        {
            Add(new(PatternOperation.SetLoop, repeat.Min, repeat.Max, (int)repeat.Kind, set.Members));
            return;
        }
        if (repeat.Kind == RepeatKind.Possessive)
        {
            EmitAtomic(repeat with { Kind = RepeatKind.Greedy });
            return;
        }
        for (int i = 0; i < repeat.Min; i++)
            Emit(repeat.Body);
        if (repeat.Max == int.MaxValue)
        {
            EmitStar(repeat.Body, repeat.Kind);
            return;
        }
        List<int> splits = [];
        for (int i = repeat.Min; i < repeat.Max; i++)
        {
            splits.Add(Add(new(PatternOperation.Split)));
            Emit(repeat.Body);
        }
        foreach (int split in splits)
            _code[split] = Branch(repeat.Kind, split + 1, _code.Count);
    }

    private void EmitStar(PatternNode body, RepeatKind kind)
    {
        int split = Add(new(PatternOperation.Split));
        int slot = body.MayBeEmpty ? _slots++ : -1;
        if (slot >= 0)
            Add(new(PatternOperation.Mark, slot));
        Emit(body);
        int check = slot >= 0 ? Add(new(PatternOperation.LeaveIfUnmoved, slot)) : -1;
        Add(new(PatternOperation.Jump, split));
        _code[split] = Branch(kind, split + 1, _code.Count);
        if (check >= 0)
            _code[check] = new(PatternOperation.LeaveIfUnmoved, slot, _code.Count);
    }

    private static PatternInstruction Branch(RepeatKind kind, int enter, int leave) =>
        kind == RepeatKind.Lazy ? new(PatternOperation.Split, leave, enter) : new(PatternOperation.Split, enter, leave);

    private void EmitLook(PatternNode.Look look)
    {
        if (look.Behind && look.Body is PatternNode.Alternation { Width: null } alternation)
        {
            // Alternatives of different widths: each looks from its own distance.
            PatternNode[] looks = [.. alternation.Choices.Select(choice => look with { Body = choice })];
            Emit(look.Negative ? new PatternNode.Sequence(looks) : new PatternNode.Alternation(looks));
            return;
        }
        int width = look.Behind
            ? look.Body.Width ?? throw new TokenizerException($"Pattern '{Pattern.Shorten(_source)}' looks behind over a varying number of characters; only a fixed number is supported.")
            : 0;
        int at = Add(new(PatternOperation.LookAhead));
        Emit(look.Body);
        Add(new(PatternOperation.Accept));
        PatternOperation operation = look.Behind ? PatternOperation.LookBehind : PatternOperation.LookAhead;
        _code[at] = new(operation, _code.Count, look.Negative ? 1 : 0, width);
    }

    private void EmitAtomic(PatternNode body)
    {
        int at = Add(new(PatternOperation.Atomic));
        Emit(body);
        Add(new(PatternOperation.Accept));
        _code[at] = new(PatternOperation.Atomic, _code.Count);
    }

    private int Add(PatternInstruction instruction)
    {
        if (_code.Count >= MaxInstructions)
            throw TooLong();
        _code.Add(instruction);
        return _code.Count - 1;
    }

    private TokenizerException TooLong() =>
        new($"Pattern '{Pattern.Shorten(_source)}' compiles to more than {MaxInstructions} steps; its counted repetitions are too large.");
}
