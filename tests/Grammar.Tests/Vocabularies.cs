using System.Text;
using TpServe.Checkpoint;
using TpServe.Grammar.Masks;
using TpServe.Testing;
using TpServe.Tokenization;

namespace TpServe.Grammar.Tests;

/// <summary>Vocabularies to mask, and the mask that needs no trie.</summary>
internal static class Vocabularies
{
    private static readonly Lazy<TokenTrie> LazySmolLm2 = new(() => TokenTrie.Of(Tokenizer.Create(
        new TokenizerFiles { TokenizerJson = File.ReadAllBytes(TestData.Local("tokenizers/smollm2-gguf.tokenizer.json")) })));

    private static readonly Lazy<TokenTrie> LazySmall = new(() => TokenTrie.Of(SmallTokens()));

    /// <summary>The embedded model's, 49 152 tokens.</summary>
    public static TokenTrie SmolLm2 => LazySmolLm2.Value;

    /// <summary>Every byte, and some hundreds of joined pieces that cross what grammars care about.</summary>
    public static TokenTrie Small => LazySmall.Value;

    /// <summary>The mask by trying each token on a copy of the matcher.</summary>
    public static ulong[] BruteForce(GrammarMatcher matcher)
    {
        TokenTrie trie = matcher.Vocabulary;
        ulong[] mask = new ulong[trie.MaskWords];
        for (int token = 0; token < trie.VocabularySize; token++)
            if (matcher.Clone().Advance(token))
                mask[token >> 6] |= 1ul << (token & 63);
        return mask;
    }

    public static ulong[] Mask(GrammarMatcher matcher)
    {
        ulong[] mask = new ulong[matcher.Vocabulary.MaskWords];
        mask.AsSpan().Fill(0xDEADBEEF); // what was there before must not matter
        matcher.FillMask(mask);
        return mask;
    }

    /// <summary>The tokens of a mask.</summary>
    public static List<int> Tokens(ulong[] mask)
    {
        List<int> tokens = [];
        for (int word = 0; word < mask.Length; word++)
            for (ulong bits = mask[word]; bits != 0; bits &= bits - 1)
                tokens.Add(word * 64 + System.Numerics.BitOperations.TrailingZeroCount(bits));
        return tokens;
    }

    private static byte[]?[] SmallTokens()
    {
        List<byte[]?> tokens = [null, [], .. Enumerable.Range(0, 256).Select(value => new[] { (byte)value })];
        string[] pieces = ["{", "}", "[", "]", "\"", ":", ",", " ", "\\", "\\u", "a", "ab", "name", "é", "日", "😀", "1", "12", "-", "0", ".", "true", "null", "e", "\n"];
        foreach (string first in pieces)
            foreach (string second in pieces)
                tokens.Add(Encoding.UTF8.GetBytes(first + second));
        Random random = new(3);
        for (int i = 0; i < 400; i++)
            tokens.Add(Encoding.UTF8.GetBytes(string.Concat(Enumerable.Range(0, random.Next(3, 7)).Select(_ => pieces[random.Next(pieces.Length)]))));
        tokens.Add([0xE6, 0x97]); // parts of characters, as byte-level vocabularies have them
        tokens.Add([0x97, 0xA5, (byte)'"']);
        return [.. tokens];
    }
}
