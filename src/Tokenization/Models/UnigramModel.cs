using System.Buffers;
using System.Text;

namespace TpServe.Tokenization.Models;

/// <summary>The segmentation with the largest sum of scores.</summary>
/// <remarks>
/// Numerics sums in float64, left to right; of equal sums the one found first stays. An unknown character costs 10 more than the worst score,
///          and neighbouring ones are one token (or their bytes, with byte fallback).
/// Cost     characters × the longest token.
/// Source   Kudo 2018, subword regularization; the tokenizers library's encode_optimized.
/// </remarks>
internal sealed class UnigramModel : ITokenModel
{
    private const double UnknownPenalty = 10.0;
    private readonly double[] _scores;
    private readonly TextTrie _trie = new();
    private readonly int? _unknownId;
    private readonly double _unknownScore;
    private readonly int[]? _byteIds;

    /// <param name="vocabulary">Texts by id.</param>
    /// <param name="scores">Scores by id.</param>
    /// <param name="unknownId">The token of unknown characters; null = they are an error.</param>
    /// <param name="byteFallback">Unknown text becomes byte pieces where the vocabulary has them.</param>
    public UnigramModel(Vocabulary vocabulary, double[] scores, int? unknownId, bool byteFallback)
    {
        Vocabulary = vocabulary;
        _scores = scores;
        _unknownId = unknownId;
        _unknownScore = scores.Min() - UnknownPenalty;
        if (byteFallback)
            _byteIds = vocabulary.ByteIds();
        for (int id = 0; id < scores.Length; id++)
            if (vocabulary.TextOf(id) is { Length: > 0 } text && !vocabulary.IsReserved(id))
                _trie.Add(text, vocabulary.IdOf(text));
    }

    public Vocabulary Vocabulary { get; }

    public bool LosesNothing(bool ofBytes) => _byteIds?.All(id => id >= 0) == true; // else unknown neighbours are one token

    // The best path to a position: where its last token starts (-1 = no path yet), which token that is, and the sum.
    private record struct Best(int Start, int Id, double Score);

    public void Encode(ReadOnlySpan<char> piece, List<int> ids)
    {
        Best[] best = ArrayPool<Best>.Shared.Rent(piece.Length + 1);
        FindBest(piece, best);

        // Backwards from the end; unknown neighbours become one stretch.
        List<(int Start, int End)> stretches = [];
        bool lastUnknown = false;
        for (int end = piece.Length; end > 0;)
        {
            Best node = best[end];
            bool unknown = node.Id == _unknownId;
            if (unknown && lastUnknown)
                stretches[^1] = (node.Start, stretches[^1].End);
            else
                stretches.Add((node.Start, end));
            lastUnknown = unknown;
            end = node.Start;
        }
        ArrayPool<Best>.Shared.Return(best);
        for (int i = stretches.Count - 1; i >= 0; i--)
            AddStretch(piece[stretches[i].Start..stretches[i].End], ids);
    }

    private void FindBest(ReadOnlySpan<char> piece, Best[] best)
    {
        Array.Fill(best, new Best(-1, -1, 0), 0, piece.Length + 1);
        for (int start = 0; start < piece.Length;)
        {
            Rune.DecodeFromUtf16(piece[start..], out _, out int length);
            double before = best[start].Score;
            bool single = false;
            int node = TextTrie.Root;
            for (int end = start; end < piece.Length && (node = _trie.Step(node, piece[end])) >= 0;)
            {
                end++;
                int id = _trie.ValueAt(node);
                if (id < 0)
                    continue;
                Offer(ref best[end], new Best(start, id, before + _scores[id]));
                single |= end - start == length;
            }
            if (!single)
            {
                int unknown = _unknownId ?? throw new TokenizerException($"The Unigram model has no unk_id, and no token for '{piece.Slice(start, length)}'.");
                Offer(ref best[start + length], new Best(start, unknown, before + _unknownScore));
            }
            start += length;
        }
    }

    private static void Offer(ref Best current, Best candidate)
    {
        if (current.Start < 0 || candidate.Score > current.Score)
            current = candidate;
    }

    private void AddStretch(ReadOnlySpan<char> stretch, List<int> ids)
    {
        int id = Vocabulary.EncodableIdOf(stretch);
        if (id >= 0)
        {
            ids.Add(id);
            return;
        }
        if (_byteIds is not null)
        {
            byte[] bytes = Encoding.UTF8.GetBytes(stretch.ToArray());
            if (bytes.All(value => _byteIds[value] >= 0))
            {
                ids.AddRange(bytes.Select(value => _byteIds[value]));
                return;
            }
        }
        ids.Add(_unknownId!.Value);
    }
}
