namespace TpServe.Ptx;

/// <summary>One of several launches that run at the same time.</summary>
/// <param name="Module">The module.</param>
/// <param name="KernelName">The kernel's name; ILGPU's prefix "Kernel_" may be left out.</param>
/// <param name="Grid">Blocks.</param>
/// <param name="Block">Threads of a block.</param>
/// <param name="DynamicSharedBytes">Bytes of the extern shared array.</param>
/// <param name="Args">Numbers, View for ArrayView parameters, byte[] for structs.</param>
public sealed record PtxLaunch(
    PtxModule Module, string KernelName, (int X, int Y, int Z) Grid, (int X, int Y, int Z) Block, int DynamicSharedBytes, params object[] Args);
