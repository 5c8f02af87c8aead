namespace TpServe.Ptx;

/// <summary>A parameter of a kernel.</summary>
/// <param name="Name">Its name in the text.</param>
/// <param name="Offset">Its place among the arguments, in bytes.</param>
/// <param name="Bytes">Its size.</param>
/// <param name="Align">Its alignment.</param>
public sealed record PtxParameter(string Name, int Offset, int Bytes, int Align);
