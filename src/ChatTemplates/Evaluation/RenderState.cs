using System.Numerics;
using System.Runtime.CompilerServices;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Evaluation;

/// <summary>The budget of one rendering: every evaluation, copied element and made character is charged to it.</summary>
/// <remarks>
/// Time and cancellation are looked at once in <see cref="CheckInterval"/> charged units; a unit is a bounded piece of work, so the look
/// comes soon enough.
/// </remarks>
internal sealed class RenderState
{
    private const int CheckInterval = 1024;
    private const int CharsPerUnit = 32;

    private readonly RenderLimits _limits;
    private readonly CancellationToken _cancellation;
    private readonly long _start = TimeProvider.System.GetTimestamp();
    private long _used;
    private long _nextCheck;
    private int _depth;

    public RenderState(RenderLimits limits, DateTimeOffset now, CancellationToken cancellation)
    {
        _limits = limits;
        _cancellation = cancellation;
        Now = now;
        Schedule();
    }

    /// <summary>The clock of strftime_now.</summary>
    public DateTimeOffset Now { get; }

    /// <summary>The template's line that is being rendered.</summary>
    public int Line { get; set; } = 1;

    /// <summary>Charges one unit.</summary>
    public void Step() => Charge(1);

    /// <summary>Charges units of work; each stands for one element.</summary>
    public void Charge(long units)
    {
        _used += units;
        if (_used >= _nextCheck)
            Check();
    }

    /// <summary>Charges copied or scanned characters and checks the length of the text they become part of.</summary>
    public void ChargeText(long totalLength, long chars)
    {
        CheckText(totalLength);
        Charge(chars / CharsPerUnit);
    }

    /// <summary>Checks a length before anything of that length is made.</summary>
    public void CheckText(BigInteger length)
    {
        if (length > _limits.MaxOutputChars)
            throw Fault.Limit($"A text of {length} characters is above the limit of {_limits.MaxOutputChars}.");
    }

    /// <inheritdoc cref="CheckText(BigInteger)"/>
    public void CheckText(long length)
    {
        if (length > _limits.MaxOutputChars)
            throw Fault.Limit($"A text of {length} characters is above the limit of {_limits.MaxOutputChars}.");
    }

    /// <summary>Checks a count of elements before a list of that length is made, and charges it.</summary>
    public void ChargeElements(BigInteger count)
    {
        if (count > _limits.MaxSteps)
            throw Fault.Limit($"A list of {count} elements is above the limit of {_limits.MaxSteps} steps.");
        Charge((long)count);
    }

    /// <summary>Goes one evaluation deeper; a matching <see cref="Leave"/> follows unless an exception ends the rendering.</summary>
    public void Enter()
    {
        if (++_depth > _limits.MaxDepth)
            throw Fault.Limit($"The template nests deeper than the limit of {_limits.MaxDepth}.");
        if (!RuntimeHelpers.TryEnsureSufficientExecutionStack())
            throw Fault.Limit($"The template nests deeper than this thread's stack allows ({_depth}).");
    }

    public void Leave() => _depth--;

    private void Check()
    {
        if (_used > _limits.MaxSteps)
            throw Fault.Limit($"The template takes more than the limit of {_limits.MaxSteps} steps.");
        if (TimeProvider.System.GetElapsedTime(_start) > _limits.MaxTime)
            throw Fault.Limit($"The template takes longer than the limit of {_limits.MaxTime.TotalMilliseconds} ms.");
        _cancellation.ThrowIfCancellationRequested();
        Schedule();
    }

    private void Schedule() => _nextCheck = Math.Min(_used + CheckInterval, (long)_limits.MaxSteps + 1);
}
