using System.Runtime.InteropServices;

namespace TpServe.Kernels.Tests;

/// <summary>Rows to draw from and how, in host memory.</summary>
internal sealed class DrawRows(int columns)
{
    private readonly List<float[]> _logits = [];
    private readonly List<DrawParameters> _parameters = [];
    private readonly List<LogitEdit> _edits = [];

    /// <summary>Rows.</summary>
    public int Count => _logits.Count;

    /// <summary>Logits of a row.</summary>
    public int Columns => columns;

    /// <summary>All logits, row by row.</summary>
    public float[] Logits => [.. _logits.SelectMany(row => row)];

    /// <summary>All parameters as words.</summary>
    public int[] Parameters => MemoryMarshal.Cast<DrawParameters, int>(CollectionsMarshal.AsSpan(_parameters)).ToArray();

    /// <summary>All edits as words.</summary>
    public int[] Edits => MemoryMarshal.Cast<LogitEdit, int>(CollectionsMarshal.AsSpan(_edits)).ToArray();

    /// <summary>Adds a row.</summary>
    public void Add(
        float[] logits, float temperature = 1f, int topK = 0, double topP = 1, float minP = 0f, double uniform = 0.5, float repetition = 1f, bool restricts = false, bool reports = false,
        params LogitEdit[] edits)
    {
        ulong drops = Fraction(1 - topP), random = Fraction(uniform);
        _parameters.Add(new DrawParameters
        {
            Temperature = temperature,
            TopK = topK,
            DropsLow = (uint)drops,
            DropsHigh = (uint)(drops >> 32),
            MinP = minP,
            UniformLow = (uint)random,
            UniformHigh = (uint)(random >> 32),
            RepetitionPenalty = repetition,
            FirstEdit = _edits.Count,
            Edits = edits.Length,
            Restricts = restricts ? 1 : 0,
            Reports = reports ? 1 : 0,
        });
        _edits.AddRange(edits);
        _logits.Add(logits);
    }

    /// <summary>The tokens that the backend draws from whole rows.</summary>
    public int[] Draw(ITensorBackend backend)
    {
        long mark = backend.Mark();
        Tensor chosen = Chosen(backend);
        backend.Sampler!.DrawWhole(LogitsOn(backend), Upload(backend, Edits, LogitEdit.Words), ParametersOn(backend), chosen);
        int[] tokens = Download(backend, chosen);
        backend.Release(mark);
        return tokens;
    }

    /// <summary>The tokens that the backend draws from the k best of each of some parts of the rows, side by side in descending order of the parts.</summary>
    public int[] DrawFromCandidates(ITensorBackend backend, int k, int parts)
    {
        long mark = backend.Mark();
        Tensor logits = LogitsOn(backend), values = backend.Rent(Count, k * parts), ids = backend.Rent(Count, k * parts, ElementType.Int32), chosen = Chosen(backend);
        for (int part = 0; part < parts; part++)
        {
            int first = columns * part / parts, end = columns * (part + 1) / parts, place = (parts - 1 - part) * k;
            backend.TopK(logits.ColumnSlice(first, end - first), k, first, values.ColumnSlice(place, k), ids.ColumnSlice(place, k));
        }
        backend.Sampler!.Draw(values, ids, ParametersOn(backend), chosen);
        int[] tokens = Download(backend, chosen);
        backend.Release(mark);
        return tokens;
    }

    /// <summary>What the backend finds of these choices.</summary>
    public DrawnLikelihood[] Likelihoods(ITensorBackend backend, int[] choices)
    {
        long mark = backend.Mark();
        Tensor chosen = Upload(backend, choices, 1), found = Upload(backend, new int[Count * DrawnLikelihood.Words], DrawnLikelihood.Words);
        backend.Sampler!.Likelihoods(LogitsOn(backend), ParametersOn(backend), chosen, found);
        int[] words = Download(backend, found);
        backend.Release(mark);
        return MemoryMarshal.Cast<int, DrawnLikelihood>(words).ToArray();
    }

    private static ulong Fraction(double fraction) => fraction >= 1 ? ulong.MaxValue : (ulong)(fraction * Math.Pow(2, 64));

    private Tensor Chosen(ITensorBackend backend) => Upload(backend, [.. Enumerable.Repeat(-7, Count)], 1);

    private Tensor LogitsOn(ITensorBackend backend)
    {
        // Strided, as a part of something wider.
        Tensor wide = backend.Rent(Count, columns + 3), logits = wide.ColumnSlice(0, columns), packed = backend.Rent(Count, columns);
        backend.Upload<float>(Logits, packed);
        backend.Copy(packed, logits);
        return logits;
    }

    private Tensor ParametersOn(ITensorBackend backend) => Upload(backend, Parameters, DrawParameters.Words);

    private static Tensor Upload(ITensorBackend backend, int[] words, int columns)
    {
        Tensor tensor = backend.Rent(words.Length / columns, columns, ElementType.Int32);
        backend.Upload<int>(words, tensor);
        return tensor;
    }

    private static int[] Download(ITensorBackend backend, Tensor tensor)
    {
        int[] words = new int[tensor.Rows * tensor.Columns];
        backend.Download<int>(tensor, words);
        return words;
    }
}
