using TpServe.Collectives.CudaIpc;
using TpServe.Kernels;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Cuda.Driver;
using TpServe.Sharding;

namespace TpServe.Collectives.Tests.CudaIpc;

/// <summary>A group whose ranks are streams of one card: the kernels run at once there, which those of two processes on one card do not.</summary>
/// <remarks>One thread enqueues every rank's operations before it waits for any, as nothing but a wait blocks.</remarks>
[Category("Gpu")]
public sealed class OneCardTests
{
    private const int Leaves = 9;
    private const int Timed = 200;

    [TestCase(2)]
    [TestCase(3)]
    public void SumTree_RanksAsStreamsOfOneCard_HasTheBitsOfOneRank(int degree)
    {
        using Group group = new(degree);
        foreach (int columns in (int[])[1, 576, 4096, 40_001, 1_000_000])
        {
            float[][] leaves = LeafSums.Random(Leaves, columns, seed: columns);
            float[] expected = LeafSums.Whole(leaves, 0, Leaves);
            foreach (float[] sum in group.Sum(leaves))
                Assert.That(sum.AsSpan().SequenceEqual(expected), Is.True, $"{columns} columns");
        }
    }

    [TestCase(2, 4096)]      // 16 KB
    [TestCase(2, 1 << 20)]   // two-shot
    public void SumTree_RanksAsStreamsOfOneCard_IsTimed(int degree, int columns)
    {
        using Group group = new(degree);
        double microseconds = group.Time(columns, Timed);
        TestContext.Out.WriteLine($"SumTree of {columns} floats, {degree} ranks on one card: {microseconds:F2} us");
        Assert.That(microseconds, Is.GreaterThan(0));
    }

    private sealed class Group : IDisposable
    {
        private readonly CudaContext _device;
        private readonly CudaBackend[] _ops;
        private readonly CudaIpcCommunicator[] _ends;
        private readonly DriverMemory[] _segments;
        private readonly List<DeviceBuffer> _buffers = [];

        public Group(int degree)
        {
            GpuSurvey survey = GpuProbe.Find();
            if (survey.Gpus.Count == 0)
                Assert.Ignore($"a GPU is needed ({survey.Reason})");
            _device = CudaContext.Open(0);
            nint context = _device.Accelerator.NativePtr;
            _ops = [.. Enumerable.Range(0, degree).Select(_ => new CudaBackend(_device))];
            _segments = [.. _ops.Select(_ => CudaDriver.AllocateDevice(context, IpcTuning.Gpu.SegmentBytes))];
            _ends = [.. _ops.Select((ops, rank) => new CudaIpcCommunicator(ops, new Memory(context, _segments), rank, degree, TimeSpan.FromSeconds(10), 1))];
        }

        /// <summary>The sum as every rank has it.</summary>
        public float[][] Sum(float[][] leaves)
        {
            int columns = leaves[0].Length;
            Tensor[] sums = Enqueue(columns, rank => LeafSums.Pieces(leaves, Share(rank)), times: 1);
            return [.. sums.Select((sum, rank) =>
            {
                float[] values = new float[columns];
                _ops[rank].Download<float>(sum, values);
                _ends[rank].ThrowIfLost();
                return values;
            })];
        }

        /// <summary>Microseconds of a sum on the device, as the slowest rank has them.</summary>
        public double Time(int columns, int times)
        {
            Enqueue(columns, rank => new float[Share(rank).Pieces * columns], times);
            foreach (CudaBackend ops in _ops)
                ops.Queue.Synchronize();
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

        private LeafShare Share(int rank) => new(
            new Leaves(1, Leaves), [.. Enumerable.Range(0, _ends.Length + 1).Select(i => i * Leaves / _ends.Length)], rank);

        private Tensor[] Enqueue(int columns, Func<int, float[]> pieces, int times)
        {
            LeafShare[] shares = [.. _ends.Select((_, rank) => Share(rank))];
            Tensor[] parts = new Tensor[_ends.Length], sums = new Tensor[_ends.Length];
            for (int rank = 0; rank < _ends.Length; rank++)
            {
                parts[rank] = Allocate(rank, shares[rank].Pieces, columns);
                sums[rank] = Allocate(rank, 1, columns);
                _ops[rank].Upload<float>(pieces(rank), parts[rank]);
                _ops[rank].Queue.Synchronize();
            }
            for (int i = 0; i < times; i++)
                for (int rank = 0; rank < _ends.Length; rank++)
                    _ends[rank].SumTree(parts[rank], shares[rank], sums[rank]);
            return sums;
        }

        private Tensor Allocate(int rank, int rows, int columns)
        {
            DeviceBuffer buffer = _ops[rank].Allocate((long)rows * columns * sizeof(float));
            _buffers.Add(buffer);
            return new Tensor(buffer, 0, rows, columns, columns, ElementType.Float32);
        }
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
