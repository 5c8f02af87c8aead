namespace TpServe.Tokenization;

/// <summary>A tokenizer cannot be built from its files, or a hostile one ran past its bounds. The message names thing, value and limit.</summary>
public sealed class TokenizerException : Exception
{
    /// <summary>A fault with its reason.</summary>
    public TokenizerException(string message) : base(message) { }

    /// <summary>A fault with what caused it.</summary>
    public TokenizerException(string message, Exception inner) : base(message, inner) { }
}
