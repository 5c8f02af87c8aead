namespace TpServe.Tokenization.AddedTokens;

/// <summary>A stretch of text: an added token, or what lies between two.</summary>
/// <param name="Start">First UTF-16 unit.</param>
/// <param name="End">After the last.</param>
/// <param name="TokenId">The token's id; -1 for text.</param>
internal readonly record struct TextOrToken(int Start, int End, int TokenId);
