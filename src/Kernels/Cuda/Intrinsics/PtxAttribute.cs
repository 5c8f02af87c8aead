namespace TpServe.Kernels.Cuda.Intrinsics;

/// <summary>The PTX a call of this method becomes on a GPU; its managed body is what ILGPU's CPU accelerator runs.</summary>
/// <remarks>
/// In the text {0} is the result, {1}, {2}, … are the arguments; a structure of n registers is written as {r0, r1, …}. A method without result counts
/// its arguments from {1} too. The method carries ILGPU's IntrinsicImplementation attribute as well, so that its body is never compiled for a GPU.
/// </remarks>
/// <param name="text">One or more instructions, each ended by a semicolon.</param>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class PtxAttribute(string text) : Attribute
{
    /// <summary>The instructions.</summary>
    public string Text => text;
}
