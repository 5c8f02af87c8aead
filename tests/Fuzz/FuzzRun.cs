using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace TpServe.Fuzz;

/// <summary>What a run over one target came to.</summary>
/// <param name="Inputs">Inputs read.</param>
/// <param name="Taken">Those of them that were taken for right.</param>
/// <param name="Slowest">The longest time one took.</param>
/// <param name="MostBytes">The most that one allocated.</param>
/// <param name="Findings">What is wrong, each kind once.</param>
internal sealed record FuzzFigures(int Inputs, int Taken, TimeSpan Slowest, long MostBytes, IReadOnlyList<string> Findings);

/// <summary>Reads damaged inputs one after the other, each with a deadline and a bound on what it allocates.</summary>
/// <remarks>
/// Input i of a seed is a function of the two. What is allocated in all is counted, not what is held at one time: it is never less.
/// Threads  the inputs are read on a thread of their own, with a stack as small as a server's; a reader that hangs leaves it behind.
/// </remarks>
internal sealed class FuzzRun(FuzzTarget target, int seed)
{
    private const int MemoryFactor = 100, StackBytes = 1 << 20, MostFindings = 8, ShownBytes = 3000;

    // Beyond what a busy machine makes of a few milliseconds.
    private static readonly TimeSpan s_deadline = TimeSpan.FromSeconds(20);

    private readonly Dictionary<string, string> _findings = [];
    private int _at, _taken;
    private long _mostBytes;
    private TimeSpan _slowest;

    /// <summary>Reads so many inputs from a number on, or as many as the time allows.</summary>
    public FuzzFigures Run(int from, int inputs, TimeSpan atMost)
    {
        Mutator mutator = new(target.Seeds, target.Words, target.IsText);
        using ManualResetEventSlim ended = new();
        int done = 0;
        Thread reader = new(() =>
        {
            // What is made once, and compiled once, is no input's.
            int right = target.Seeds.Count(target.Read);
            if (right < target.Seeds.Count / 3) // some templates raise an error over a conversation that is not as theirs
                _findings["seeds"] = string.Create(CultureInfo.InvariantCulture, $"{target.Name}: only {right} of {target.Seeds.Count} seeds are taken for right.");
            long began = Stopwatch.GetTimestamp();
            for (; done < inputs && _findings.Count < MostFindings && Stopwatch.GetElapsedTime(began) < atMost; done++)
            {
                Volatile.Write(ref _at, from + done);
                _taken += Judge(from + done, mutator.Make(new Random(unchecked((seed * 1_000_003) + from + done)))) ? 1 : 0;
            }
            ended.Set();
        }, StackBytes)
        { IsBackground = true };
        reader.Start();
        for (int before = -1; !ended.Wait(s_deadline);)
        {
            int now = Volatile.Read(ref _at);
            if (now == before)
                return new FuzzFigures(done, _taken, s_deadline, _mostBytes, [.. _findings.Values, string.Create(CultureInfo.InvariantCulture, $"{target.Name}: input {now} of seed {seed} is not read within {s_deadline}.")]);
            before = now;
        }
        try
        {
            target.Finish();
        }
        catch (FuzzFindingException fault)
        {
            _findings["end"] = $"{target.Name}: after the last input {fault.Message}";
        }
        return new FuzzFigures(done, _taken, _slowest, _mostBytes, [.. _findings.Values]);
    }

    private bool Judge(int number, byte[] input)
    {
        long before = target.Allocated(), began = Stopwatch.GetTimestamp();
        bool taken = false;
        try
        {
            taken = target.Read(input);
        }
#pragma warning disable CA1031 // whatever it throws is what is looked for
        catch (Exception fault)
#pragma warning restore CA1031
        {
            Add(fault.GetType().Name + fault.StackTrace?.Split('\n').FirstOrDefault(), number, input, fault.ToString());
        }
        TimeSpan time = Stopwatch.GetElapsedTime(began);
        long bytes = target.Allocated() - before, most = ((long)MemoryFactor * input.Length) + target.FixedBytes;
        if (time > _slowest)
            _slowest = time;
        if (time > s_deadline)
            Add("time", number, input, $"took {time}");
        if (bytes > most && bytes > _mostBytes)
            _findings.Remove("memory"); // the worst one is shown
        _mostBytes = Math.Max(_mostBytes, bytes);
        if (bytes > most)
            Add("memory", number, input, string.Create(CultureInfo.InvariantCulture, $"allocated {bytes:N0} bytes for {input.Length:N0}; {most:N0} are allowed"));
        return taken;
    }

    private void Add(string kind, int number, byte[] input, string what) => _findings.TryAdd(kind, string.Create(
        CultureInfo.InvariantCulture, $"{target.Name}: input {number} of seed {seed}: {kind}: {what}\n  {Encoding.Latin1.GetString(input.AsSpan(0, Math.Min(input.Length, ShownBytes)))}"));
}
