namespace TpServe.Kernels.Cpu;

/// <summary>A job that <see cref="CpuThreads"/> cuts into ranges of items.</summary>
/// <remarks>Threads   Execute runs on several threads at once; the ranges are disjoint and cover every item exactly once.</remarks>
internal interface IParallelWork
{
    /// <summary>Does items [first, end). <paramref name="thread"/> is 0-based below <see cref="CpuThreads.Count"/> and names the scratch this call may use.</summary>
    void Execute(int first, int end, int thread);
}
