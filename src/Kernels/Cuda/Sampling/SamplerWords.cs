using ILGPU;

namespace TpServe.Kernels.Cuda.Sampling;

/// <summary>The contract's structures as the words that tensors hold. A view of structures would have to begin at a multiple of their size.</summary>
internal static class SamplerWords
{
    /// <summary>A row's parameters.</summary>
    public static DrawParameters Parameters(ArrayView<int> words, int row)
    {
        int at = row * DrawParameters.Words;
        return new()
        {
            Temperature = Interop.IntAsFloat((uint)words[at]),
            TopK = words[at + 1],
            DropsLow = (uint)words[at + 2],
            DropsHigh = (uint)words[at + 3],
            MinP = Interop.IntAsFloat((uint)words[at + 4]),
            UniformLow = (uint)words[at + 5],
            UniformHigh = (uint)words[at + 6],
            RepetitionPenalty = Interop.IntAsFloat((uint)words[at + 7]),
            FirstEdit = words[at + 8],
            Edits = words[at + 9],
            Restricts = words[at + 10],
            Reports = words[at + 11],
        };
    }

    /// <summary>An edit.</summary>
    public static LogitEdit Edit(ArrayView<int> words, int index)
    {
        int at = index * LogitEdit.Words;
        return new() { TokenId = words[at], Kind = words[at + 1], Subtract = Interop.IntAsFloat((uint)words[at + 2]), Add = Interop.IntAsFloat((uint)words[at + 3]) };
    }

    /// <summary>Writes a row's likelihood.</summary>
    public static void Write(ArrayView<int> words, int row, DrawnLikelihood found)
    {
        int at = row * DrawnLikelihood.Words;
        words[at] = found.Rank;
        words[at + 1] = (int)Interop.FloatAsInt(found.Logit);
        words[at + 2] = (int)Interop.FloatAsInt(found.Largest);
        words[at + 3] = (int)found.SumLow;
        words[at + 4] = (int)found.SumHigh;
    }
}
