using System.Text;

namespace TpServe.Tokenization.Decoders;

/// <summary>A tokenizer's decoder: the steps, of which every stream of tokens gets its own.</summary>
/// <remarks>
/// Threads  immutable; any thread may begin a stream.
/// </remarks>
internal sealed class DecoderChain(IReadOnlyList<Func<DecoderStage>> steps)
{
    private readonly DecoderStage[] _probe = [.. steps.Select(step => step())];

    /// <summary>True where tokens are bytes in the byte alphabet.</summary>
    public bool IsByteLevel => _probe is [ByteLevelStage, ..];

    /// <summary>True where "&lt;0x41&gt;" is a byte.</summary>
    public bool HasBytePieces => _probe.Any(stage => stage is ByteFallbackStage or BytePiecesStage);

    /// <summary>Begins a stream: tokens go into the result, text comes into the sink.</summary>
    public DecoderStage Begin(StringBuilder sink)
    {
        DecoderStage next = new SinkStage(sink);
        for (int i = steps.Count - 1; i >= 0; i--)
        {
            DecoderStage stage = steps[i]();
            stage.Next = next;
            next = stage;
        }
        return next;
    }
}

/// <summary>One step of a decoder at work on one stream of tokens; it hands on what no later token can change.</summary>
/// <remarks>
/// Threads  one stream, one caller.
/// </remarks>
internal abstract class DecoderStage
{
    private DecoderStage? _next;

    /// <summary>The step after this one; set once, when the chain is made.</summary>
    public DecoderStage Next
    {
        protected get => _next ?? throw new InvalidOperationException($"{GetType().Name} is not linked.");
        set => _next = value;
    }

    /// <summary>Takes text of the current token; endsToken is true with the last of it.</summary>
    public abstract void Accept(string text, bool endsToken);

    /// <summary>The stream has ended.</summary>
    public virtual void Finish() => Next.Finish();
}

/// <summary>A step that needs whole tokens.</summary>
internal abstract class WholeTokenStage : DecoderStage
{
    private StringBuilder? _begun;

    public sealed override void Accept(string text, bool endsToken)
    {
        if (!endsToken)
        {
            (_begun ??= new StringBuilder()).Append(text);
            return;
        }
        string token = _begun is null ? text : _begun.Append(text).ToString();
        _begun = null;
        AcceptToken(token);
    }

    /// <summary>Takes one token.</summary>
    protected abstract void AcceptToken(string token);
}

/// <summary>The end of a chain: collects the text.</summary>
internal sealed class SinkStage(StringBuilder sink) : DecoderStage
{
    public override void Accept(string text, bool endsToken) => sink.Append(text);

    public override void Finish()
    {
    }
}
