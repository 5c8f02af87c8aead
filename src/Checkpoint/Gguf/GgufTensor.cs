namespace TpServe.Checkpoint.Gguf;

/// <summary>An entry of a GGUF file's tensor table.</summary>
/// <param name="Name">Name in the file.</param>
/// <param name="TypeNumber">Type number in the file.</param>
/// <param name="Shape">Outermost first.</param>
/// <param name="Elements">Product of the shape.</param>
/// <param name="Offset">Offset from the beginning of the data, as the file says.</param>
/// <param name="Start">Offset from the beginning of the file.</param>
internal sealed record GgufTensor(string Name, uint TypeNumber, IReadOnlyList<int> Shape, long Elements, ulong Offset, long Start)
{
    /// <summary>The storage type, or null where TpServe does not read it.</summary>
    public TensorType? Type => TensorTypes.OfGguf(TypeNumber);

    /// <summary>How people call a type that TpServe does not read.</summary>
    public string UnreadTypeName => TypeNumber switch
    {
        9 => "Q8_1",
        24 => "I8",
        25 => "I16",
        26 => "I32",
        27 => "I64",
        28 => "F64",
        _ => $"number {TypeNumber}",
    };
}
