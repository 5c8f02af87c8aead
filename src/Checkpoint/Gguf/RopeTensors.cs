using System.Runtime.InteropServices;

namespace TpServe.Checkpoint.Gguf;

/// <summary>The rotary factors that a GGUF file stores as tensors: they are configuration, not weights.</summary>
internal sealed class RopeTensors
{
    private const int MaxFactors = 1 << 16;

    /// <summary>rope_freqs.weight: what each pair's frequency is divided by.</summary>
    public IReadOnlyList<float> Factors { get; private set; } = [];

    /// <summary>rope_factors_short.weight (LongRoPE).</summary>
    public IReadOnlyList<float> Short { get; private set; } = [];

    /// <summary>rope_factors_long.weight (LongRoPE).</summary>
    public IReadOnlyList<float> Long { get; private set; } = [];

    /// <summary>Reads the tensor where it is one of these; false where it is another.</summary>
    public bool TryTake(TensorPlace place)
    {
        switch (place.Tensor.FileName)
        {
            case GgufNames.RopeFrequencies:
                Factors = Values(place);
                return true;
            case GgufNames.RopeShort:
                Short = Values(place);
                return true;
            case GgufNames.RopeLong:
                Long = Values(place);
                return true;
            default:
                return false;
        }
    }

    private static float[] Values(TensorPlace place)
    {
        TensorInfo tensor = place.Tensor;
        if (tensor.Type is not TensorType.F32 || tensor.Shape.Count != 1 || tensor.Shape[0] > MaxFactors)
        {
            throw new ModelLoadException(
                $"{place.File.Path}: tensor '{tensor.FileName}' is {tensor.Type} [{string.Join(", ", tensor.Shape)}]; expected F32 of one dimension and at most {MaxFactors} elements.");
        }
        float[] values = MemoryMarshal.Cast<byte, float>(place.File.Span(place.Offset, (int)tensor.ByteCount)).ToArray();
        int wrong = Array.FindIndex(values, v => !float.IsFinite(v) || v <= 0);
        return wrong < 0 ? values : throw new ModelLoadException($"{place.File.Path}: tensor '{tensor.FileName}' [{wrong}] is {values[wrong]}; it must be finite and positive.");
    }
}
