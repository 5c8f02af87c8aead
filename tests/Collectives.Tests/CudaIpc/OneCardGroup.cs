using TpServe.Collectives.CudaIpc;
using TpServe.Kernels;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Driver;
using TpServe.Sharding;

namespace TpServe.Collectives.Tests.CudaIpc;

/// <summary>A group whose ranks are streams of one card: their kernels run at once there, which those of two processes on one card do not.</summary>
/// <remarks>One thread enqueues every rank's operations before it waits for any, as nothing but a wait blocks.</remarks>
internal sealed class OneCardGroup : IDisposable
{
    private const int Leaves = 9;
    private readonly CudaContext _device;
    private readonly CudaBackend[] _ops;
    private readonly CudaIpcCommunicator[] _ends;
    private readonly DriverMemory[] _segments;
    private readonly List<DeviceBuffer> _buffers = [];

    /// <summary>So many ranks on the GPU of an ordinal.</summary>
    public OneCardGroup(int ordinal, int degree)
    {
        _device = CudaContext.Open(ordinal);
        nint context = _device.Accelerator.NativePtr;
        _ops = [.. Enumerable.Range(0, degree).Select(_ => new CudaBackend(_device))];
        _segments = [.. _ops.Select(_ => CudaDriver.AllocateDevice(context, IpcTuning.Gpu.SegmentBytes))];
        _ends = [.. _ops.Select((ops, rank) => new CudaIpcCommunicator(ops, new Memory(context, _segments), rank, degree, TimeSpan.FromSeconds(10), 1))];
    }

    /// <summary>What rank <paramref name="rank"/> owns of the sums' leaves.</summary>
    public LeafShare Share(int rank) => new(
        new Leaves(1, Leaves), [.. Enumerable.Range(0, _ends.Length + 1).Select(i => i * Leaves / _ends.Length)], rank);

    /// <summary>A sum of every rank's pieces, as every rank has it: run as it is, recorded, and replayed; the last one's.</summary>
    public float[][] Sum(int columns, Func<int, float[]> pieces)
    {
        Action round = Prepare(columns, pieces, times: 1, out Tensor[] sums);
        for (int i = 0; i < 3; i++)
            round();
        return [.. sums.Select((sum, rank) =>
        {
            float[] values = new float[columns];
            _ops[rank].Download<float>(sum, values);
            _ends[rank].ThrowIfLost();
            return values;
        })];
    }

    /// <summary>Microseconds of a sum on the device, as the slowest rank has them: of a replayed recording of many, so that the host's launches do not count.</summary>
    public double Time(int columns, int times)
    {
        Action round = Prepare(columns, rank => new float[Share(rank).Pieces * columns], times, out _);
        for (int i = 0; i < 3; i++)
        {
            round();
            Wait();
        }
        foreach (CudaIpcCommunicator end in _ends)
            end.TakeElapsed();
        round();
        Wait();
        return _ends.Max(end => end.TakeElapsed().TotalMicroseconds) / times;
    }

    public void Dispose()
    {
        foreach (DeviceBuffer buffer in _buffers)
            buffer.Dispose();
        foreach (CudaIpcCommunicator end in _ends)
            end.Dispose();
        foreach (CudaBackend ops in _ops)
            ops.DisposeParts();
        foreach (DriverMemory segment in _segments)
            segment.Dispose();
        _device.Dispose();
    }

    private Action Prepare(int columns, Func<int, float[]> pieces, int times, out Tensor[] sums)
    {
        LeafShare[] shares = [.. _ends.Select((_, rank) => Share(rank))];
        Tensor[] parts = new Tensor[_ends.Length], results = new Tensor[_ends.Length];
        for (int rank = 0; rank < _ends.Length; rank++)
        {
            parts[rank] = Allocate(rank, shares[rank].Pieces, columns);
            results[rank] = Allocate(rank, 1, columns);
            _ops[rank].Upload<float>(pieces(rank), parts[rank]);
        }
        sums = results;
        RecordingKey key = new(Rows: columns, TableBlocks: times, Candidates: 0);
        return () =>
        {
            for (int rank = 0; rank < _ends.Length; rank++)
                _ops[rank].Recorded(key, () =>
                {
                    for (int i = 0; i < times; i++)
                        _ends[rank].SumTree(parts[rank], shares[rank], results[rank]);
                    return 0;
                });
        };
    }

    private Tensor Allocate(int rank, int rows, int columns)
    {
        DeviceBuffer buffer = _ops[rank].Allocate((long)rows * columns * sizeof(float));
        _buffers.Add(buffer);
        return new Tensor(buffer, 0, rows, columns, columns, ElementType.Float32);
    }

    private void Wait()
    {
        foreach (CudaBackend ops in _ops)
            ops.Queue.Synchronize();
        foreach (CudaIpcCommunicator end in _ends)
            end.ThrowIfLost();
    }

    /// <summary>One rank's, in the context that all share; the segments are the group's.</summary>
    private sealed unsafe class Memory(nint context, DriverMemory[] segments) : IIpcMemory
    {
        private readonly DriverMemory _state = CudaDriver.AllocateDevice(context, IpcLayout.StateBytes(IpcTuning.Gpu.Channels));
        private readonly DriverMemory _host = CudaDriver.AllocateMapped(context, IpcLayout.HostBytes);

        public IpcTuning Tuning => IpcTuning.Gpu;

        public long State => _state.Address;

        public byte* Host => (byte*)_host.Address; // HostBytes bytes, until Dispose

        public long HostOnDevice => CudaDriver.DeviceAddress(context, _host);

        public long Segment(int rank) => segments[rank].Address;

        public void Revoke(int abortWord) => Volatile.Write(ref *(int*)(Host + IpcLayout.RevokeAt), 1);

        public void Leave(int leftWord)
        {
        }

        public void Dispose()
        {
            _state.Dispose();
            _host.Dispose();
        }
    }
}
