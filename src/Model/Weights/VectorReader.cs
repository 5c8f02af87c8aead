using System.Buffers.Binary;
using TpServe.Checkpoint;

namespace TpServe.Model.Weights;

/// <summary>Reads norms and biases, which files store as plain floating-point numbers, as float32.</summary>
internal static class VectorReader
{
    /// <summary>Elements [first, first + count) in plain order.</summary>
    /// <exception cref="ModelLoadException">The file stores the vector quantised.</exception>
    public static float[] Read(ModelCheckpoint checkpoint, TensorInfo tensor, int first, int count, int headDim)
    {
        ReadOnlySpan<byte> bytes = checkpoint.Bytes(tensor);
        float[] values = new float[count];
        for (int i = 0; i < count; i++)
        {
            int at = TensorRows.FileRow(tensor.RowOrder, first + i, headDim);
            values[i] = tensor.Type switch
            {
                TensorType.F32 => BinaryPrimitives.ReadSingleLittleEndian(bytes[(4 * at)..]),
                TensorType.F16 => (float)BinaryPrimitives.ReadHalfLittleEndian(bytes[(2 * at)..]),
                TensorType.BF16 => BitConverter.Int32BitsToSingle(BinaryPrimitives.ReadUInt16LittleEndian(bytes[(2 * at)..]) << 16),
                _ => throw new ModelLoadException($"{checkpoint.Path}: tensor '{tensor.FileName}': expected a vector of F32, F16 or BF16, found {tensor.Type}."),
            };
        }
        return values;
    }
}
