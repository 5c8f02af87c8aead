using System.Text;

namespace TpServe.Tokenization.Decoders;

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
