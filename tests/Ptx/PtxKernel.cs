namespace TpServe.Ptx;

/// <summary>A kernel of a module.</summary>
/// <param name="Name">Its name in the text.</param>
/// <param name="Parameters">Its parameters, in order.</param>
public sealed record PtxKernel(string Name, IReadOnlyList<PtxParameter> Parameters);
