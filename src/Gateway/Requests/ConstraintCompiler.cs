using System.Globalization;
using Grpc.Core;
using TpServe.Grammar;
using TpServe.Grammar.Masks;
using TpServe.Grammar.Parts;
using TpServe.Protos.V1;
using TpServe.Tokenization;

namespace TpServe.Gateway.Requests;

/// <summary>Compiles what an output must be; the last ones are kept, for clients send the same again and again.</summary>
/// <remarks>
/// Compiling is bounded, and done for one request at a time: hostile ones wait for each other and for nobody else.
/// Threads  any.
/// Errors   <see cref="RequestRejectedException"/> naming keyword and place.
/// </remarks>
/// <param name="tokenizer">Whose tokens the output is made of.</param>
/// <param name="clock">What deadlines are by.</param>
internal sealed class ConstraintCompiler(Tokenizer tokenizer, TimeProvider clock)
{
    private const int Kept = 64;
    private const int MostOptions = 256;

    private readonly EncodingRoom _turn = new(characters: 1, lightCharacters: 0, clock, "the constraint waited to be compiled behind others");
    private readonly LinkedList<(AskedForm Asked, OutputGrammar Grammar)> _kept = [];
    private readonly Lock _gate = new();
    private readonly Lazy<TokenTrie> _vocabulary = new(() => TokenTrie.Of(tokenizer));

    /// <summary>The vocabulary that masks are over; made when first asked for.</summary>
    public TokenTrie Vocabulary => _vocabulary.Value;

    /// <summary>What is asked, compiled.</summary>
    /// <param name="asked">What is asked.</param>
    /// <param name="around">Puts it together where there is more than the constraint; null = there is not.</param>
    /// <param name="due">Until when it may wait for its turn.</param>
    /// <param name="cancellation">The client has left.</param>
    public async Task<OutputGrammar> CompileAsync(AskedForm asked, Func<GrammarPart?, GrammarPart>? around, DateTimeOffset due, CancellationToken cancellation)
    {
        if (Known(asked) is { } known)
            return known;
        using IDisposable turn = await _turn.EnterAsync(1, due, cancellation);
        try
        {
            OutputGrammar grammar = Known(asked) ?? (around is null ? Compile(asked.Constraint!) : OutputGrammar.FromParts(around(asked.Constraint is null ? null : Part(asked.Constraint))));
            GrammarMatcher first = grammar.NewMatcher(Vocabulary); // the first one pays for vocabulary and masks here, and not under the engine's lock
            first.FillMask(new ulong[Vocabulary.MaskWords]);
            first.ForcedTokens();
            lock (_gate)
            {
                _kept.AddFirst((asked, grammar));
                if (_kept.Count > Kept)
                    _kept.RemoveLast();
            }
            return grammar;
        }
        catch (GrammarException fault)
        {
            bool isOfTools = !string.IsNullOrEmpty(fault.Part) || asked.Constraint is null;
            string place = isOfTools ? "tools" : $"constraint.{Field(asked.Constraint!)}";
            string what = isOfTools && fault.Part is { Length: > 0 } tool ? $"the parameters of tool '{tool}': " : "";
            throw fault.Kind == GrammarErrorKind.NotServed
                ? new RequestRejectedException(StatusCode.Unimplemented, "CONSTRAINT_NOT_IMPLEMENTED", $"'{place}' asks for what is not served here: {what}{fault.Message}", place, fault.Subject)
                : new RequestRejectedException(
                    StatusCode.InvalidArgument, fault.Kind == GrammarErrorKind.Limit ? "CONSTRAINT_TOO_LARGE" : "CONSTRAINT_INVALID", $"'{place}' cannot be used: {what}{fault.Message}", place, fault.Subject);
        }
    }

    private OutputGrammar? Known(AskedForm asked)
    {
        lock (_gate)
        {
            for (LinkedListNode<(AskedForm Asked, OutputGrammar Grammar)>? node = _kept.First; node is not null; node = node.Next)
                if (node.Value.Asked == asked)
                {
                    _kept.Remove(node);
                    _kept.AddFirst(node);
                    return node.Value.Grammar;
                }
            return null;
        }
    }

    private static GrammarPart Part(Constraint constraint)
    {
        RequireChoices(constraint);
        return constraint.KindCase switch
        {
            Constraint.KindOneofCase.JsonSchema => new GrammarPart.Schema(constraint.JsonSchema, ""),
            Constraint.KindOneofCase.JsonObject when constraint.JsonObject => new GrammarPart.Schema("""{"type":"object"}""", ""),
            Constraint.KindOneofCase.Regex => new GrammarPart.Regex(constraint.Regex),
            Constraint.KindOneofCase.Grammar => new GrammarPart.Gbnf(constraint.Grammar),
            Constraint.KindOneofCase.Choice => new GrammarPart.Choice([.. constraint.Choice.Options.Select(option => new GrammarPart.Text(option))]),
            _ => throw NothingAsked(),
        };
    }

    private static OutputGrammar Compile(Constraint constraint)
    {
        switch (constraint.KindCase)
        {
            case Constraint.KindOneofCase.JsonSchema:
                return OutputGrammar.FromJsonSchema(constraint.JsonSchema);
            case Constraint.KindOneofCase.JsonObject when constraint.JsonObject:
                return OutputGrammar.JsonObject();
            case Constraint.KindOneofCase.Regex:
                return OutputGrammar.FromRegex(constraint.Regex);
            case Constraint.KindOneofCase.Grammar:
                return OutputGrammar.FromGbnf(constraint.Grammar);
            case Constraint.KindOneofCase.Choice:
                RequireChoices(constraint);
                return OutputGrammar.FromChoices(constraint.Choice.Options);
            default:
                throw NothingAsked();
        }
    }

    private static void RequireChoices(Constraint constraint)
    {
        if (constraint is { KindCase: Constraint.KindOneofCase.Choice, Choice.Options.Count: 0 or > MostOptions })
            throw RequestRejectedException.OutOfRange("constraint.choice", $"{constraint.Choice.Options.Count.ToString(CultureInfo.InvariantCulture)} texts", $"1 to {MostOptions} texts");
    }

    private static RequestRejectedException NothingAsked() =>
        RequestRejectedException.Invalid("constraint", "'constraint' must set one of json_schema, json_object (to true), regex, grammar and choice.");

    private static string Field(Constraint constraint) => constraint.KindCase switch
    {
        Constraint.KindOneofCase.JsonSchema => "json_schema",
        Constraint.KindOneofCase.JsonObject => "json_object",
        Constraint.KindOneofCase.Regex => "regex",
        Constraint.KindOneofCase.Grammar => "grammar",
        _ => "choice",
    };
}

/// <summary>What an output is asked to be; equal ones are compiled once.</summary>
/// <param name="Constraint">The request's own; null = none.</param>
/// <param name="Around">Names all else that makes the form; empty = nothing does.</param>
internal sealed record AskedForm(Constraint? Constraint, string Around = "");
