namespace TpServe.Kernels.Cuda.Device;

/// <summary>Records the work of a key as a graph and replays it: one launch for a whole step.</summary>
/// <remarks>
/// Of one key and one top of the scratch stack
///   1. the first call runs the work as it is: kernels are compiled, scratch grows;
///   2. the second records it, and runs the recording;
///   3. every further one runs the recording, puts the scratch stack where the work left it and returns what the work returned.
/// Work that cannot be recorded (it copies from or to the host, waits, or allocates) runs as it is from then on; <see cref="Fault"/> says why.
/// The least recently used recording makes room for a new one.
/// Numerics the same kernels in the same order on the same addresses: the same bits.
/// Threads  the rank's thread.
/// Errors   What the work throws where it runs as it is. A recording that fails throws nothing: the work runs instead.
/// </remarks>
internal sealed class StepRecorder : IDisposable
{
    /// <summary>Recordings kept: more than a server's buckets of batch sizes; each holds some kilobytes a kernel on the device.</summary>
    internal const int MostGraphs = 64;

    private readonly CudaQueue _queue;
    private readonly ScratchArena _scratch;
    private readonly IGraphStream? _stream;
    private readonly Dictionary<(RecordingKey Key, long Bottom), Entry> _entries = [];
    private long _uses;
    private bool _running;

    /// <summary>Records on a GPU; on the emulated device work runs as it is.</summary>
    public StepRecorder(CudaQueue queue, ScratchArena scratch) : this(queue, scratch, queue.IsEmulated ? null : new CudaGraphStream(queue))
    {
    }

    /// <summary>Records by other means.</summary>
    internal StepRecorder(CudaQueue queue, ScratchArena scratch, IGraphStream? stream)
    {
        _queue = queue;
        _scratch = scratch;
        _stream = stream;
    }

    /// <summary>True where the device can record.</summary>
    public bool IsAvailable => _stream is not null;

    /// <summary>Runs of recordings so far.</summary>
    public long GraphLaunches { get; private set; }

    /// <summary>Recordings held.</summary>
    public int Graphs { get; private set; }

    /// <summary>Why the last key that could not be recorded was not; null where all could.</summary>
    public string? Fault { get; private set; }

    /// <summary>Runs the work, or its recording.</summary>
    public T Run<T>(RecordingKey key, Func<T> work)
    {
        // Work within work is part of the outer recording.
        if (_stream is null || _running)
            return work();
        _running = true;
        try
        {
            (RecordingKey, long) place = (key, _scratch.Mark());
            if (!_entries.TryGetValue(place, out Entry? entry))
            {
                T result = work();
                _entries.Add(place, new Entry());
                return result;
            }
            entry.LastUse = ++_uses;
            if (entry.Graph is not null)
                return Replay<T>(entry);
            return !entry.GaveUp && TryRecord(_stream, entry, key, work, out T recorded) ? recorded : work();
        }
        finally
        {
            _running = false;
        }
    }

    /// <inheritdoc/>
    public void Dispose() => Drop();

    /// <summary>Forgets every recording, and every key that could not be recorded. None of them may be running.</summary>
    public void Drop()
    {
        foreach (Entry entry in _entries.Values)
            entry.Graph?.Dispose();
        _entries.Clear();
        Graphs = 0;
    }

    /// <summary>Records the work and runs the recording, or notes that it cannot be recorded and leaves scratch and launch count as they were.</summary>
    private bool TryRecord<T>(IGraphStream stream, Entry entry, RecordingKey key, Func<T> work, out T result)
    {
        long bottom = _scratch.Mark(), launches = _queue.Launches;
        IStepGraph? graph = null;
        try
        {
            stream.Begin();
            _queue.IsRecording = true;
            result = work();
            _queue.IsRecording = false;
            graph = stream.End();
            graph.Launch();
        }
        catch (Exception fault) // of whatever kind: the work runs as it is next, and throws what is its own again
        {
            _queue.IsRecording = false;
            if (graph is null)
                stream.Abandon();
            graph?.Dispose();
            entry.GaveUp = true;
            Fault = $"{key}: {fault.Message}";
            _queue.CountLaunches(launches - _queue.Launches);
            _scratch.Release(bottom);
            result = default!;
            return false;
        }
        MakeRoom();
        entry.Fill(graph, result, _scratch.Mark(), _queue.Launches - launches);
        Graphs++;
        GraphLaunches++;
        return true;
    }

    private T Replay<T>(Entry entry)
    {
        entry.Graph!.Launch();
        GraphLaunches++;
        _queue.CountLaunches(entry.Launches);
        _scratch.Restore(entry.Top);
        return (T)entry.Result!;
    }

    private void MakeRoom()
    {
        if (Graphs < MostGraphs)
            return;
        ((RecordingKey, long) place, Entry oldest) = _entries.Where(pair => pair.Value.Graph is not null).MinBy(pair => pair.Value.LastUse);
        oldest.Graph!.Dispose();
        _entries.Remove(place);
        Graphs--;
    }

    private sealed class Entry
    {
        public IStepGraph? Graph { get; private set; }

        /// <summary>What the work returned; boxed once.</summary>
        public object? Result { get; private set; }

        /// <summary>Top of the scratch stack after the work.</summary>
        public long Top { get; private set; }

        public long Launches { get; private set; }

        public long LastUse { get; set; }

        public bool GaveUp { get; set; }

        public void Fill(IStepGraph graph, object? result, long top, long launches)
        {
            Graph = graph;
            Result = result;
            Top = top;
            Launches = launches;
        }
    }
}
