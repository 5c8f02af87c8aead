namespace TpServe.Ptx;

/// <summary>An ILGPU ArrayView as a kernel's argument: {pointer, length}; for a parameter of 32 bytes a dense ArrayView1D.</summary>
/// <param name="Address">The device address of element 0.</param>
/// <param name="Length">The number of elements.</param>
public readonly record struct View(long Address, long Length);
