namespace TpServe.Kernels;

/// <summary>The gate's activation function in a gated MLP.</summary>
public enum Activation
{
    /// <summary>x · sigmoid(x): SwiGLU.</summary>
    Silu,

    /// <summary>x/2 · (1 + tanh(√(2/π) · (x + 0.044715·x³))): GeGLU of the Gemma family.</summary>
    GeluTanh,
}
