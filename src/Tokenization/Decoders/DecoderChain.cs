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
