namespace TpServe.Tokenization.Decoders;

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
