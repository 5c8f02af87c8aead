namespace TpServe.Kernels.Cuda.Driver;

/// <summary>One NVIDIA GPU as the driver reports it.</summary>
/// <param name="Ordinal">The driver's number of it in this process.</param>
/// <param name="Uuid">"GPU-5c24…": the same in every process and container.</param>
/// <param name="Name">"NVIDIA H100 80GB HBM3".</param>
/// <param name="TotalBytes">Memory of the device.</param>
/// <param name="FreeBytes">Memory that was free when the survey was made; the total where that could not be told.</param>
/// <param name="Capability">Compute capability times ten: 90 for 9.0.</param>
/// <param name="Multiprocessors">Streaming multiprocessors.</param>
/// <param name="PciBus">"0000:1b:00.0".</param>
public sealed record Gpu(int Ordinal, string Uuid, string Name, long TotalBytes, long FreeBytes, int Capability, int Multiprocessors, string PciBus);
