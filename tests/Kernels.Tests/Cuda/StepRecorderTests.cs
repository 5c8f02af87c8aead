using NUnit.Framework;
using TpServe.Kernels.Cuda.Device;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>When work runs as it is, when it is recorded and when its recording runs, on a stream of delegates.</summary>
public sealed class StepRecorderTests
{
    private static readonly RecordingKey Key = new(8, 4, 1);
    private CudaContext _context = null!;
    private CudaQueue _queue = null!;
    private ScratchArena _scratch = null!;
    private RecordedWork _stream = null!;
    private StepRecorder _recorder = null!;
    private int _calls;
    private int _runs;

    [OneTimeSetUp]
    public void OpenDevice()
    {
        _context = CudaContext.Emulated();
        _queue = new CudaQueue(_context);
    }

    [OneTimeTearDown]
    public void CloseDevice()
    {
        _queue.Dispose();
        _context.Dispose();
    }

    [SetUp]
    public void OpenRecorder()
    {
        _calls = _runs = 0;
        _scratch = new ScratchArena(bytes => new HostBuffer(bytes));
        _recorder = new StepRecorder(_queue, _scratch, _stream = new RecordedWork());
    }

    [TearDown]
    public void CloseRecorder()
    {
        _recorder.Dispose();
        _scratch.Dispose();
        Assert.That(_stream.Alive, Is.Zero, "a recording leaked");
        Assert.That(_queue.IsRecording, Is.False);
    }

    [Test]
    public void Run_SameKeyAgain_RunsThenRecordsThenReplays()
    {
        for (int call = 1; call <= 5; call++)
        {
            Assert.That(Step(Key), Is.EqualTo(Math.Min(call, 2)), "the result of the recorded call stays");
            Assert.That(_calls, Is.EqualTo(Math.Min(call, 2)), $"calls of the work after call {call}");
            Assert.That(_runs, Is.EqualTo(call), $"runs of its operation after call {call}");
            Assert.That(_recorder.GraphLaunches, Is.EqualTo(Math.Max(0, call - 1)));
        }
        Assert.That(_recorder.Graphs, Is.EqualTo(1));
        Assert.That(_recorder.Fault, Is.Null);
    }

    [Test]
    public void Drop_BetweenRuns_BeginsAnewWithWhatTheWorkEnqueuesNow()
    {
        for (int call = 0; call < 3; call++)
            Step(Key);
        _recorder.Drop();
        Assert.That((_recorder.Graphs, _stream.Alive), Is.EqualTo((0, 0)));
        for (int call = 1; call <= 3; call++)
        {
            Step(Key);
            Assert.That(_calls, Is.EqualTo(2 + Math.Min(call, 2)), "it runs, is recorded and replays once more");
        }
        Assert.That(_recorder.Graphs, Is.EqualTo(1));
    }

    [Test]
    public void Run_EveryCall_CountsTheSameLaunches()
    {
        for (int call = 0; call < 4; call++)
        {
            long before = _queue.Launches;
            Step(Key);
            Assert.That(_queue.Launches - before, Is.EqualTo(3));
        }
    }

    [Test]
    public void Run_Replayed_LeavesScratchAsTheWorkDid()
    {
        Tensor first = default;
        for (int call = 0; call < 4; call++)
        {
            Tensor result = _recorder.Run(Key, () =>
            {
                _scratch.Rent(3, 100, ElementType.Float32);
                return _scratch.Rent(5, 7, ElementType.Float32);
            });
            Tensor next = _scratch.Rent(1, 1, ElementType.Float32);
            if (call == 0)
                first = result;
            Assert.That(result.OffsetBytes, Is.EqualTo(first.OffsetBytes));
            Assert.That(next.OffsetBytes, Is.EqualTo(result.OffsetBytes + 3 * 64), "behind the 140 bytes of the result");
            _scratch.Release(0);
        }
    }

    [Test]
    public void Run_OtherKeyOrOtherScratch_IsRecordedByItself()
    {
        Step(Key);
        Step(Key);
        Step(Key with { Rows = 9 });
        _scratch.Rent(1, 16, ElementType.Float32);
        Step(Key);
        Assert.That(_calls, Is.EqualTo(4), "neither of the two was replayed");
        Step(Key);
        Step(Key with { Rows = 9 });
        Assert.That(_recorder.Graphs, Is.EqualTo(2), "the other rows ran from another top of the scratch stack");
    }

    [Test]
    public void Run_WorkThatCannotBeRecorded_RunsAsItIsForGood()
    {
        int calls = 0;
        for (int call = 1; call <= 4; call++)
        {
            long before = _queue.Launches;
            int result = _recorder.Run(Key, () =>
            {
                _scratch.Rent(1, 100, ElementType.Float32);
                _queue.CountLaunches(1);
                calls++;
                _queue.ForbidRecording("a download");
                return calls;
            });
            Assert.That(result, Is.EqualTo(calls));
            Assert.That(_queue.Launches - before, Is.EqualTo(1));
            Assert.That(_scratch.Mark(), Is.EqualTo(448), "the failed recording's scratch was given back");
            _scratch.Release(0);
        }
        Assert.That(calls, Is.EqualTo(5), "one attempt to record");
        Assert.That(_stream.Abandoned, Is.EqualTo(1));
        Assert.That(_recorder.GraphLaunches, Is.Zero);
        Assert.That(_recorder.Fault, Does.Contain("a download").And.Contain("8"));
    }

    [Test]
    public void Run_DriverRefusesTheRecording_RunsTheWork([Values] bool atLaunch)
    {
        Step(Key);
        InvalidOperationException fault = new("CUDA_ERROR_STREAM_CAPTURE_INVALIDATED");
        if (atLaunch)
            _stream.FaultAtLaunch = fault;
        else
            _stream.FaultAtEnd = fault;
        Step(Key);
        Assert.That(_runs, Is.EqualTo(2));
        Step(Key);
        Assert.That((_runs, _calls), Is.EqualTo((3, 4)));
        Assert.That(_recorder.Fault, Does.Contain("CAPTURE_INVALIDATED"));
        Assert.That(_recorder.Graphs, Is.Zero);
    }

    [Test]
    public void Run_WorkThrowsByItself_ThrowsWhatItThrew()
    {
        Func<int> broken = () => throw new TimeoutException("a peer is gone");
        Assert.That(() => _recorder.Run(Key, broken), Throws.TypeOf<TimeoutException>());
        Step(Key);
        Assert.That(() => _recorder.Run(Key, broken), Throws.TypeOf<TimeoutException>(), "while it is recorded");
        Step(Key);
        Assert.That(_runs, Is.EqualTo(2));
    }

    [Test]
    public void Run_MoreKeysThanRecordings_DropsTheLeastRecentlyUsed()
    {
        for (int round = 0; round < 2; round++)
            for (int rows = 0; rows < StepRecorder.MostGraphs; rows++)
                Step(new RecordingKey(rows, 1, 1));
        Step(new RecordingKey(0, 1, 1)); // now key 1 is the oldest
        Step(Key with { Rows = 1000 });
        Step(Key with { Rows = 1000 });
        Assert.That(_recorder.Graphs, Is.EqualTo(StepRecorder.MostGraphs));
        Assert.That(_stream.Alive, Is.EqualTo(StepRecorder.MostGraphs));

        int calls = _calls;
        Step(new RecordingKey(0, 1, 1));
        Assert.That(_calls, Is.EqualTo(calls), "key 0 is replayed");
        Step(new RecordingKey(1, 1, 1));
        Assert.That(_calls, Is.EqualTo(calls + 1), "key 1 starts anew");
    }

    [Test]
    public void Run_WithinWork_IsPartOfTheOuterRecording()
    {
        for (int call = 0; call < 3; call++)
            _recorder.Run(Key, () => Step(Key with { Rows = 1 }));
        Assert.That((_calls, _runs), Is.EqualTo((2, 3)));
        Assert.That(_recorder.Graphs, Is.EqualTo(1));
    }

    [Test]
    public void Run_OnTheEmulatedDevice_RunsTheWorkEveryTime()
    {
        using StepRecorder plain = new(_queue, _scratch);
        Assert.That(plain.IsAvailable, Is.False);
        for (int call = 1; call <= 3; call++)
            Assert.That(plain.Run(Key, () => ++_calls), Is.EqualTo(call));
    }

    /// <summary>Work of three launches and one operation; returns how often it was called.</summary>
    private int Step(RecordingKey key)
    {
        long mark = _scratch.Mark();
        int result = _recorder.Run(key, () =>
        {
            _queue.CountLaunches(3);
            _stream.Enqueue(() => _runs++);
            return ++_calls;
        });
        _scratch.Release(mark);
        return result;
    }
}
