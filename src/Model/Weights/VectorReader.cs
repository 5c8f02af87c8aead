using TpServe.Checkpoint;
using TpServe.Kernels;
using TpServe.Kernels.Reference;

namespace TpServe.Model.Weights;

/// <summary>Reads norms and biases, which files store as plain floating-point numbers, as float32.</summary>
internal static class VectorReader
{
    /// <summary>Elements [first, first + count) in plain order.</summary>
    /// <exception cref="ModelLoadException">The file stores the vector quantised.</exception>
    public static float[] Read(ModelCheckpoint checkpoint, TensorInfo tensor, int first, int count, int headDim)
    {
        if (tensor.Type.BlockElements() != 1)
            throw new ModelLoadException($"{checkpoint.Path}: tensor '{tensor.FileName}': expected a vector of F32, F16 or BF16, found {tensor.Type}.");
        float[] inFile = new float[tensor.Shape[0]], values = new float[count];
        Dequantize.Row(TensorRows.FormatOf(tensor), checkpoint.Bytes(tensor), inFile);
        for (int i = 0; i < count; i++)
            values[i] = inFile[TensorRows.FileRow(tensor.RowOrder, first + i, headDim)];
        return values;
    }
}
