using System.Runtime.InteropServices;

namespace TpServe.Model.Sampling;

/// <summary>What a rank sends of its logits of a row from which top-p alone filters, in place of all of them.</summary>
/// <remarks>
/// Its best tokens: values, then ids (bits; −1 = none). The <see cref="ChunkMass"/> of each chunk that it holds whole: 3 words. The logits of chunks that it
/// shares with a neighbour, as they are.
/// The nucleus follows from these where every token of it is known: where the tokens up to the least likely one that some rank has sent last weigh as much as p asks.
/// </remarks>
internal sealed class NucleusLayout
{
    private const int BestWords = 2 * LogitsPlan.MostCandidates, MassWords = 3;

    private readonly IReadOnlyList<int> _vocab;
    private readonly int[] _firsts;
    private readonly ChunkMass[] _chunks;
    private readonly float[] _cut = new float[VocabularyMass.ChunkTokens];

    /// <param name="vocabBoundaries">Rank r holds the logits [vocabBoundaries[r], vocabBoundaries[r + 1]).</param>
    public NucleusLayout(IReadOnlyList<int> vocabBoundaries)
    {
        _vocab = vocabBoundaries;
        _firsts = new int[vocabBoundaries.Count];
        for (int rank = 0; rank < _firsts.Length - 1; rank++)
        {
            (int first, int end) = WholeChunks(rank);
            int inChunks = Math.Min(end * VocabularyMass.ChunkTokens, vocabBoundaries[^1]) - (first * VocabularyMass.ChunkTokens);
            _firsts[rank + 1] = _firsts[rank] + BestWords + ((end - first) * MassWords) + (vocabBoundaries[rank + 1] - vocabBoundaries[rank] - (end > first ? inChunks : 0));
        }
        _chunks = new ChunkMass[VocabularyMass.Chunks(vocabBoundaries[^1])];
    }

    /// <summary>Where each rank's words of a row begin, and where they end.</summary>
    public IReadOnlyList<int> Firsts => _firsts;

    /// <summary>A rank's words.</summary>
    public int WordsOf(int rank) => _firsts[rank + 1] - _firsts[rank];

    /// <summary>Lays a rank's words of a row.</summary>
    public void Pack(int rank, ReadOnlySpan<float> logits, float temperature, ReadOnlySpan<float> best, ReadOnlySpan<int> bestIds, Span<float> words)
    {
        best.CopyTo(words);
        MemoryMarshal.Cast<int, float>(bestIds).CopyTo(words[LogitsPlan.MostCandidates..]);
        words = words[BestWords..];
        int low = _vocab[rank];
        (int first, int end) = WholeChunks(rank);
        for (int chunk = first; chunk < end; chunk++)
        {
            ChunkMass mass = VocabularyMass.Of(logits[(StartOf(chunk) - low)..(StartOf(chunk + 1) - low)], temperature);
            words[0] = mass.Largest;
            MemoryMarshal.Write(MemoryMarshal.AsBytes(words.Slice(1, 2)), mass.Sum);
            words = words[MassWords..];
        }
        if (first >= end)
        {
            logits.CopyTo(words);
            return;
        }
        int before = StartOf(first) - low;
        logits[..before].CopyTo(words);
        logits[(StartOf(end) - low)..].CopyTo(words[before..]);
    }

    /// <summary>The vocabulary's mass from all ranks' words of a row.</summary>
    public double Total(ReadOnlySpan<float> row, float temperature)
    {
        int cut = 0, cutChunk = -1; // logits of a chunk that ranks share, as far as they have come
        for (int rank = 0; rank < _firsts.Length - 1; rank++)
        {
            ReadOnlySpan<float> words = row[(_firsts[rank] + BestWords)..];
            (int first, int end) = WholeChunks(rank);
            if (first >= end)
            {
                Take(words[..(_vocab[rank + 1] - _vocab[rank])], _vocab[rank]);
                continue;
            }
            ReadOnlySpan<float> edges = words[((end - first) * MassWords)..];
            int before = StartOf(first) - _vocab[rank], after = _vocab[rank + 1] - StartOf(end);
            Take(edges[..before], _vocab[rank]);
            for (int chunk = first; chunk < end; chunk++, words = words[MassWords..])
                _chunks[chunk] = new ChunkMass(words[0], MemoryMarshal.Read<double>(MemoryMarshal.AsBytes(words.Slice(1, 2))));
            Take(edges.Slice(before, after), StartOf(end));
        }
        return VocabularyMass.Total(_chunks);

        // Consecutive logits from a token on.
        void Take(ReadOnlySpan<float> logits, int token)
        {
            while (logits.Length > 0)
            {
                int chunk = token / VocabularyMass.ChunkTokens, count = Math.Min(logits.Length, StartOf(chunk + 1) - token);
                if (chunk != cutChunk)
                    (cut, cutChunk) = (0, chunk);
                logits[..count].CopyTo(_cut.AsSpan(cut));
                cut += count;
                token += count;
                logits = logits[count..];
                if (token == StartOf(chunk + 1))
                    _chunks[chunk] = VocabularyMass.Of(_cut.AsSpan(0, cut), temperature);
            }
        }
    }

    /// <summary>All ranks' best tokens of a row as keys in ascending order, as far as no token that a rank kept to itself is likelier.</summary>
    /// <param name="row">All ranks' words.</param>
    /// <param name="keys">Room for all of them.</param>
    /// <param name="isAll">Whether these are the whole vocabulary.</param>
    public ReadOnlySpan<ulong> Known(ReadOnlySpan<float> row, Span<ulong> keys, out bool isAll)
    {
        int count = 0;
        ulong bound = ulong.MaxValue;
        for (int rank = 0; rank < _firsts.Length - 1; rank++)
        {
            ReadOnlySpan<float> values = row.Slice(_firsts[rank], LogitsPlan.MostCandidates);
            ReadOnlySpan<int> ids = MemoryMarshal.Cast<float, int>(row.Slice(_firsts[rank] + LogitsPlan.MostCandidates, LogitsPlan.MostCandidates));
            ulong last = 0;
            for (int i = 0; i < ids.Length; i++)
                if (ids[i] >= 0)
                    last = Math.Max(last, keys[count++] = LogitKey.Of(values[i], ids[i]));
            if (_vocab[rank + 1] - _vocab[rank] > LogitsPlan.MostCandidates)
                bound = Math.Min(bound, last);
        }
        isAll = bound == ulong.MaxValue;
        Span<ulong> sorted = keys[..count];
        sorted.Sort();
        int known = count;
        while (known > 0 && sorted[known - 1] > bound)
            known--;
        return sorted[..known];
    }

    /// <summary>Room that <see cref="Known"/> needs.</summary>
    public int MostKeys => (_firsts.Length - 1) * LogitsPlan.MostCandidates;

    /// <summary>Chunks that a rank holds whole.</summary>
    private (int First, int End) WholeChunks(int rank)
    {
        int low = _vocab[rank], high = _vocab[rank + 1];
        int first = VocabularyMass.Chunks(low), end = high == _vocab[^1] ? VocabularyMass.Chunks(high) : high / VocabularyMass.ChunkTokens;
        return (first, Math.Max(first, low == high ? first : end));
    }

    private int StartOf(int chunk) => Math.Min(chunk * VocabularyMass.ChunkTokens, _vocab[^1]);
}
