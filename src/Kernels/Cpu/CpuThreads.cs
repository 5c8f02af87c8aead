using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace TpServe.Kernels.Cpu;

/// <summary>The threads of one rank: the caller and Count − 1 helpers that share a job by grabbing ranges from one counter.</summary>
/// <remarks>
/// Protocol who writes: only the caller opens and closes a job; helpers add and take back themselves in State; everyone draws from Next.
///          1. The caller writes the job's fields, Next = 0, then State = Open (release), then Generation + 1 (full fence), and wakes sleepers.
///          2. A helper that sees a new Generation enters by CAS State → State + 1, only while Open is set; so it reads the fields after the
///             release, and the caller cannot start another job while a helper is inside.
///          3. The caller works too, then clears Open and waits until no helper is inside. A helper that was still asleep is not waited for.
///          Sleep: a helper counts itself in Sleepers (full fence) and sleeps on Generation; the caller raises Generation (full fence) before it
///          reads Sleepers. One of the two sees the other, so no wake-up is lost. Generation may wrap: only inequality is used.
///          A helper's exception ends the job: Next jumps to the end, the first exception reaches the caller.
/// Threads  one caller at a time. Helpers spin SpinMicroseconds after a job, then sleep; no call allocates.
/// Numerics who computes which range differs from run to run; callers must not let that change a result.
/// </remarks>
internal sealed unsafe class CpuThreads : IDisposable
{
    private const int SpinMicroseconds = 30;
    private const int Open = 1 << 30;
    private const int CallerSleeps = 1 << 29;
    private const int CountMask = CallerSleeps - 1;
    private static readonly long SpinTicks = Stopwatch.Frequency * SpinMicroseconds / 1_000_000;

    private readonly Thread[] _helpers;
    private Words* _words;
    private void* _work;
    private delegate*<void*, int, int, int, void> _execute;
    private int _items;
    private int _grain;
    private Exception? _failure;
    private volatile bool _quit;

    /// <summary>Starts <paramref name="count"/> − 1 helpers, bound to <paramref name="cpus"/> where there are any.</summary>
    public CpuThreads(int count, IReadOnlyCollection<int>? cpus = null)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(count, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(count, 1024);
        _words = (Words*)NativeMemory.AlignedAlloc((nuint)sizeof(Words), 64);
        *_words = default;
        _helpers = new Thread[count - 1];
        for (int i = 0; i < _helpers.Length; i++)
        {
            int thread = i + 1;
            _helpers[i] = new Thread(() => Help(thread, cpus)) { IsBackground = true, Name = $"cpu-{thread}" };
            _helpers[i].Start();
        }
    }

    /// <summary>Threads that work on a job, the caller included.</summary>
    public int Count => _helpers.Length + 1;

    /// <summary>Executes items [0, items), <paramref name="grain"/> at a time, and returns when all are done.</summary>
    /// <exception cref="InvalidOperationException">A job is already running.</exception>
    public void Run<TWork>(ref TWork work, int items, int grain)
        where TWork : struct, IParallelWork
    {
        ObjectDisposedException.ThrowIf(_words is null, this);
        ArgumentOutOfRangeException.ThrowIfLessThan(grain, 1);
        if (items <= 0)
            return;
        if (_helpers.Length == 0 || items <= grain)
        {
            work.Execute(0, items, 0);
            return;
        }
        if (items > int.MaxValue - (long)grain * Count)
            throw new ArgumentOutOfRangeException(nameof(items), items, $"the counter overflows with a grain of {grain}");
        if (Volatile.Read(ref _words->State) != 0)
            throw new InvalidOperationException("Another job is running on these threads.");

        // A copy in this frame has a fixed address (frames do not move) and keeps the managed references inside it alive for the helpers.
        TWork local = work;
        _work = Unsafe.AsPointer(ref local);
        _execute = &Execute<TWork>;
        _items = items;
        _grain = grain;
        _failure = null;
        _words->Next = 0;
        Volatile.Write(ref _words->State, Open);
        Interlocked.Increment(ref _words->Generation);
        if (Volatile.Read(ref _words->Sleepers) != 0)
            Futex.WakeAll(&_words->Generation);

        Draw(0);
        Interlocked.And(ref _words->State, ~Open);
        AwaitHelpers();
        work = local;
        if (_failure is { } failure)
            ExceptionDispatchInfo.Throw(failure);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        if (_words is null)
            return;
        _quit = true;
        Interlocked.Increment(ref _words->Generation);
        Futex.WakeAll(&_words->Generation);
        foreach (Thread helper in _helpers)
            helper.Join();
        NativeMemory.AlignedFree(_words);
        _words = null;
    }

    private static void Execute<TWork>(void* work, int first, int end, int thread)
        where TWork : struct, IParallelWork => Unsafe.AsRef<TWork>(work).Execute(first, end, thread);

    private void Help(int thread, IReadOnlyCollection<int>? cpus)
    {
        if (cpus is not null)
            CpuAffinity.Bind(cpus); // threads begin with the process's own set, whoever starts them
        Words* words = _words;
        int seen = 0;
        while (true)
        {
            AwaitGeneration(words, seen);
            if (_quit)
                return;
            seen = Volatile.Read(ref words->Generation);
            if (!Enter(words))
                continue;
            Draw(thread);
            if (Interlocked.Decrement(ref words->State) == CallerSleeps)
                Futex.WakeAll(&words->State);
        }
    }

    private static bool Enter(Words* words)
    {
        while (true)
        {
            int state = Volatile.Read(ref words->State);
            if ((state & Open) == 0)
                return false;
            if (Interlocked.CompareExchange(ref words->State, state + 1, state) == state)
                return true;
        }
    }

    /// <summary>Draws ranges until none is left; an exception is kept for the caller and ends the job.</summary>
    private void Draw(int thread)
    {
        int items = _items, grain = _grain;
        try
        {
            while (true)
            {
                int first = Interlocked.Add(ref _words->Next, grain) - grain;
                if (first >= items)
                    return;
                _execute(_work, first, Math.Min(first + grain, items), thread);
            }
        }
#pragma warning disable CA1031 // rethrown on the caller's thread, whatever it is
        catch (Exception failure)
#pragma warning restore CA1031
        {
            Interlocked.CompareExchange(ref _failure, failure, null);
            Volatile.Write(ref _words->Next, items);
        }
    }

    private static void AwaitGeneration(Words* words, int seen)
    {
        long deadline = Stopwatch.GetTimestamp() + SpinTicks;
        while (Volatile.Read(ref words->Generation) == seen)
        {
            if (Stopwatch.GetTimestamp() < deadline)
            {
                Thread.SpinWait(8);
                continue;
            }
            Interlocked.Increment(ref words->Sleepers);
            Futex.Wait(&words->Generation, seen);
            Interlocked.Decrement(ref words->Sleepers);
        }
    }

    private void AwaitHelpers()
    {
        long deadline = Stopwatch.GetTimestamp() + SpinTicks;
        while (true)
        {
            int state = Volatile.Read(ref _words->State);
            if ((state & CountMask) == 0)
                break;
            if (Stopwatch.GetTimestamp() < deadline)
            {
                Thread.SpinWait(4);
                continue;
            }
            if ((state & CallerSleeps) == 0)
                Interlocked.Or(ref _words->State, CallerSleeps);
            else
                Futex.Wait(&_words->State, state);
        }
        Volatile.Write(ref _words->State, 0);
    }

    /// <summary>The shared words, a cache line each.</summary>
    [StructLayout(LayoutKind.Explicit, Size = 256)]
    private struct Words
    {
        /// <summary>Open bit, CallerSleeps bit, number of helpers inside.</summary>
        [FieldOffset(0)] public int State;

        /// <summary>First item nobody has drawn yet.</summary>
        [FieldOffset(64)] public int Next;

        /// <summary>Raised with every job; helpers sleep on it.</summary>
        [FieldOffset(128)] public int Generation;

        /// <summary>Helpers asleep or about to sleep.</summary>
        [FieldOffset(192)] public int Sleepers;
    }
}

/// <summary>A job that <see cref="CpuThreads"/> cuts into ranges of items.</summary>
/// <remarks>Threads   Execute runs on several threads at once; the ranges are disjoint and cover every item exactly once.</remarks>
internal interface IParallelWork
{
    /// <summary>Does items [first, end). <paramref name="thread"/> is 0-based below <see cref="CpuThreads.Count"/> and names the scratch this call may use.</summary>
    void Execute(int first, int end, int thread);
}
