using System.Diagnostics;
using TpServe.Collectives;

namespace TpServe.Model;

/// <summary>What one rank did in one step and when: segments one after the other, and inside them the collective operations.</summary>
/// <remarks>
/// On a GPU the times are the host's: what a segment took to enqueue, and what a download waited.
/// Threads  the rank's thread.
/// </remarks>
public sealed class StepTrace : IOperationObserver
{
    private readonly List<TraceSpan> _spans = [];
    private string? _segment;
    private int _layer;
    private long _since;

    /// <summary>Segments and operations in the order in which they ended.</summary>
    public IReadOnlyList<TraceSpan> Spans => _spans;

    /// <summary>Forgets the step before.</summary>
    public void Clear()
    {
        _spans.Clear();
        _segment = null;
    }

    /// <summary>A segment begins; the one before ends.</summary>
    /// <param name="segment">For people: attention, mlp, head.</param>
    /// <param name="layer">Its layer; −1 where it belongs to none.</param>
    public void Begin(string segment, int layer = -1)
    {
        End();
        (_segment, _layer, _since) = (segment, layer, Stopwatch.GetTimestamp());
    }

    /// <summary>The last segment ends.</summary>
    public void End()
    {
        if (_segment is { } segment)
            _spans.Add(new TraceSpan(segment, _layer, IsCollective: false, _since, Stopwatch.GetTimestamp(), TimeSpan.Zero));
        _segment = null;
    }

    /// <inheritdoc/>
    public void Ran(string operation, int rows, int columns, long start, long end, TimeSpan waited) =>
        _spans.Add(new TraceSpan(FormattableString.Invariant($"{operation} [{rows}, {columns}]"), _layer, IsCollective: true, start, end, waited));
}

/// <summary>A segment of a step, or a collective operation within one.</summary>
/// <param name="Name">For people.</param>
/// <param name="Layer">Decoder block; −1 where it belongs to none.</param>
/// <param name="IsCollective">An operation of all ranks.</param>
/// <param name="Start">Stopwatch ticks.</param>
/// <param name="End">Stopwatch ticks.</param>
/// <param name="Waited">What of an operation was waiting for peers.</param>
public readonly record struct TraceSpan(string Name, int Layer, bool IsCollective, long Start, long End, TimeSpan Waited);
