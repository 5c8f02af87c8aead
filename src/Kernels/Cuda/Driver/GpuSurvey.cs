namespace TpServe.Kernels.Cuda.Driver;

/// <summary>The GPUs this process can use.</summary>
/// <param name="Gpus">By ordinal.</param>
/// <param name="Reason">Why there is none; empty where there is one.</param>
/// <param name="CudaVersion">Version of the CUDA API the driver offers: "13.0"; empty without a driver.</param>
public sealed record GpuSurvey(IReadOnlyList<Gpu> Gpus, string Reason, string CudaVersion);
