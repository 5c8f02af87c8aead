using TpServe.Kernels.Cuda.Device;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>Copies that run as late as the contract allows: when a fence behind them is waited for, or at the end.</summary>
internal sealed unsafe class DelayedCopies : IHostCopies
{
    private readonly EmulatedHostCopies _copies = new();
    private readonly Queue<Action> _pending = new();
    private long _run;

    /// <summary>Copies enqueued and not yet run.</summary>
    public int Pending => _pending.Count;

    /// <summary>Runs everything enqueued.</summary>
    public void Flush() => RunUntil(long.MaxValue);

    public HostBuffer AllocateHost(long bytes) => _copies.AllocateHost(bytes);

    public void ToDevice(HostBuffer source, DeviceMemory target, long offset, long bytes) =>
        _pending.Enqueue(() => _copies.ToDevice(source, target, offset, bytes));

    public void ToHost(DeviceMemory source, long offset, HostBuffer target, long bytes) =>
        _pending.Enqueue(() => _copies.ToHost(source, offset, target, bytes));

    public ICopyFence CreateFence(bool sleeping) => new Fence(this);

    public void Dispose() => _copies.Dispose();

    private void RunUntil(long count)
    {
        for (; _run < count && _pending.TryDequeue(out Action? copy); _run++)
            copy();
    }

    private sealed class Fence(DelayedCopies copies) : ICopyFence
    {
        private long _behind;

        public void Set() => _behind = copies._run + copies._pending.Count;

        public void Wait() => copies.RunUntil(_behind);

        public void Dispose()
        {
        }
    }
}
