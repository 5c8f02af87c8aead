using TpServe.Grammar.Automata;
using TpServe.Grammar.Gbnf;
using TpServe.Grammar.Masks;
using TpServe.Grammar.Parts;
using TpServe.Grammar.Pushdown;
using TpServe.Grammar.Regexes;
using TpServe.Grammar.Schemas;

namespace TpServe.Grammar;

/// <summary>A constraint on a text, compiled: what a model may write, byte by byte.</summary>
/// <remarks>
/// Threads  any. Compiling is bounded by <see cref="GrammarLimits"/>; the result is immutable but for caches, and may serve any number of sequences.
/// Errors   <see cref="GrammarException"/> from each of the makers.
/// </remarks>
public sealed class OutputGrammar
{
    private const int MostVocabularies = 4;

    private readonly PushdownAutomaton _automaton;
    private readonly Lock _lock = new();
    private readonly List<TokenMasks> _masks = [];

    private OutputGrammar(PushdownProgram program, GrammarLimits limits) => _automaton = new PushdownAutomaton(program, limits);

    /// <summary>Nodes that are stored: the size of what was compiled.</summary>
    public int Nodes => _automaton.Program.StoredNodes;

    /// <summary>JSON that a schema of draft 2020-12 accepts, written compactly.</summary>
    /// <param name="schema">The schema's text.</param>
    /// <param name="limits">Bounds of the compilation and of the output's depth.</param>
    public static OutputGrammar FromJsonSchema(string schema, GrammarLimits? limits = null) => Compile(limits, builder => SchemaCompiler.Compile(schema, builder));

    /// <summary>Any JSON object.</summary>
    public static OutputGrammar JsonObject(GrammarLimits? limits = null) => FromJsonSchema("""{"type":"object"}""", limits);

    /// <summary>Texts that match a pattern from end to end.</summary>
    public static OutputGrammar FromRegex(string pattern, GrammarLimits? limits = null) => Compile(limits, builder =>
    {
        int root = builder.Declare("pattern");
        builder.Define(root, ByteAutomaton.Of(Pattern.Whole(pattern, builder.Budget), insideJson: false));
        return root;
    });

    /// <summary>One of some texts.</summary>
    public static OutputGrammar FromChoices(IReadOnlyList<string> choices, GrammarLimits? limits = null) => Compile(limits, builder =>
    {
        if (choices.Count == 0)
            throw new GrammarException(GrammarErrorKind.Invalid, "choice", "", "there is none");
        if (choices.Sum(choice => (long)choice.Length) > builder.Budget.Limits.TextChars)
            throw GrammarException.Limit("characters of all choices", builder.Budget.Limits.TextChars);
        int root = builder.Declare("choice");
        builder.Define(root, ByteAutomaton.OfTexts(choices, builder.Budget));
        return root;
    });

    /// <summary>Texts of the rule "root" of a grammar in llama.cpp's notation.</summary>
    public static OutputGrammar FromGbnf(string grammar, GrammarLimits? limits = null) => Compile(limits, builder => GbnfCompiler.Compile(grammar, builder));

    /// <summary>Outputs that are put together of parts.</summary>
    public static OutputGrammar FromParts(GrammarPart part, GrammarLimits? limits = null) => Compile(limits, builder => PartCompiler.Compile(part, builder));

    /// <summary>A matcher before the first byte, with masks over a vocabulary.</summary>
    public GrammarMatcher NewMatcher(TokenTrie vocabulary) => new(_automaton, MasksOver(vocabulary), _automaton.Start());

    /// <summary>True where a whole text satisfies the constraint.</summary>
    public bool Accepts(ReadOnlySpan<byte> text)
    {
        ParseState state = _automaton.Start();
        foreach (byte value in text)
            if ((state = _automaton.Step(state, value)) == ParseState.Dead)
                return false;
        return state.Accepts;
    }

    private static OutputGrammar Compile(GrammarLimits? limits, Func<ProgramBuilder, int> write)
    {
        limits ??= GrammarLimits.Default;
        ProgramBuilder builder = new(new CompileBudget(limits));
        return new OutputGrammar(builder.Link(write(builder)), limits);
    }

    private TokenMasks MasksOver(TokenTrie vocabulary)
    {
        lock (_lock)
        {
            if (_masks.Find(masks => masks.Trie == vocabulary) is TokenMasks known)
                return known;
            if (_masks.Count == MostVocabularies)
                _masks.RemoveAt(0);
            TokenMasks made = new(_automaton, vocabulary);
            _masks.Add(made);
            return made;
        }
    }
}
