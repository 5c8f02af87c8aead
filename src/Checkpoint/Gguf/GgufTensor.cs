namespace TpServe.Checkpoint.Gguf;

/// <summary>An entry of a GGUF file's tensor table.</summary>
/// <param name="Name">Name in the file.</param>
/// <param name="Type">Type number in the file.</param>
/// <param name="Shape">Outermost first.</param>
/// <param name="Elements">Product of the shape.</param>
/// <param name="Offset">Offset from the beginning of the data, as the file says.</param>
/// <param name="Start">Offset from the beginning of the file.</param>
internal sealed record GgufTensor(string Name, uint Type, IReadOnlyList<int> Shape, long Elements, ulong Offset, long Start);
