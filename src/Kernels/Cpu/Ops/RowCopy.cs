namespace TpServe.Kernels.Cpu.Ops;

/// <summary>y ← rows of x, all in order or those that a list names.</summary>
internal static class RowCopy
{
    private const int BytesWorthThreads = 1 << 18;

    /// <summary>y ← x, row by row.</summary>
    /// <exception cref="ArgumentException">The shapes disagree.</exception>
    public static void Copy(CpuThreads threads, Tensor x, Tensor y)
    {
        Require.Shape(y, x.Rows, x.Columns, x.Type);
        Run(threads, new Work(x, default, y, listed: false), y);
    }

    /// <summary>y[i] = x[rows[i]].</summary>
    /// <exception cref="ArgumentException">The shapes disagree, or a row is not in x.</exception>
    public static void Gather(CpuThreads threads, Tensor x, Tensor rows, Tensor y)
    {
        Require.Shape(rows, y.Rows, 1, ElementType.Int32);
        Require.Shape(y, y.Rows, x.Columns, x.Type);
        Run(threads, new Work(x, rows, y, listed: true), y);
    }

    private static void Run(CpuThreads threads, Work work, Tensor y)
    {
        long rowBytes = Math.Max(1, (long)y.Columns * y.Type.SizeBytes());
        threads.Run(ref work, y.Rows, (int)Math.Max(1, BytesWorthThreads / rowBytes));
    }

    private readonly unsafe struct Work(Tensor x, Tensor rows, Tensor y, bool listed) : IParallelWork
    {
        public void Execute(int first, int end, int thread)
        {
            long bytes = (long)x.Columns * x.Type.SizeBytes();
            for (int i = first; i < end; i++)
            {
                int row = listed ? rows.HostRow<int>(i)[0] : i;
                Require.That((uint)row < (uint)x.Rows, $"Row {row} is not in x, {x}.");
                Buffer.MemoryCopy(x.HostRow<byte>(row), y.HostRow<byte>(i), bytes, bytes);
            }
        }
    }
}
