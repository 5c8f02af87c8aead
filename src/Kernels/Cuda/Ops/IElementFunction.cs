namespace TpServe.Kernels.Cuda.Ops;

/// <summary>A function of two elements, compiled into <see cref="ElementwiseKernels"/>' one kernel.</summary>
internal interface IElementFunction
{
    /// <summary>f(a, b).</summary>
    float Apply(float a, float b, float parameter);
}
