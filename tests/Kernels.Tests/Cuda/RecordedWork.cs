using TpServe.Kernels.Cuda.Device;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>A stream whose operations are delegates: they run at once, or are kept while it is recorded.</summary>
internal sealed class RecordedWork : IGraphStream
{
    private List<Action>? _recording;

    /// <summary>Recordings that were made and not disposed.</summary>
    public int Alive { get; private set; }

    /// <summary>Recordings abandoned.</summary>
    public int Abandoned { get; private set; }

    /// <summary>Thrown when the next recording ends.</summary>
    public Exception? FaultAtEnd { get; set; }

    /// <summary>Thrown when the next recording runs first.</summary>
    public Exception? FaultAtLaunch { get; set; }

    /// <summary>Enqueues an operation.</summary>
    public void Enqueue(Action operation)
    {
        if (_recording is null)
            operation();
        else
            _recording.Add(operation);
    }

    public void Begin() => _recording = [];

    public IStepGraph End()
    {
        if (FaultAtEnd is { } fault)
        {
            FaultAtEnd = null;
            throw fault;
        }
        Graph graph = new(this, _recording!);
        _recording = null;
        Alive++;
        return graph;
    }

    public void Abandon()
    {
        _recording = null;
        Abandoned++;
    }

    private sealed class Graph(RecordedWork stream, List<Action> operations) : IStepGraph
    {
        public void Launch()
        {
            if (stream.FaultAtLaunch is { } fault)
            {
                stream.FaultAtLaunch = null;
                throw fault;
            }
            operations.ForEach(operation => operation());
        }

        public void Dispose() => stream.Alive--;
    }
}
