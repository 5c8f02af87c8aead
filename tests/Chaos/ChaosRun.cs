using System.Diagnostics;
using System.Globalization;
using System.Runtime.InteropServices;
using TpServe.Chaos.Faults;
using TpServe.Chaos.Load;
using TpServe.Chaos.Servers;

namespace TpServe.Chaos;

/// <summary>A run: in each arena a server learns the right answers undisturbed, then faults come while clients ask, and at the end nothing may be left.</summary>
/// <remarks>
/// What must hold, and is told as a violation where it does not: every request has a definite end within 20 s of the last fault; what a client was told is what it would have
/// been told without faults, each token once; what ends otherwise ends for one of the stated reasons; the group serves again; and at idle moments and after the end no
/// process, descriptor, segment, file, block or sequence is left.
/// </remarks>
internal sealed class ChaosRun(ChaosOptions options, TextWriter output)
{
    private const int KnownRequests = 32;
    private const int FaultsOfARound = 240; // in which every arena has its share
    private const int FaultsBetweenAudits = 25;
    private const int ShareOnTheHeels = 15; // of a hundred faults
    private const int AllShares = 6;
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);
    private static readonly TimeSpan s_starved = TimeSpan.FromSeconds(15); // an open circuit looks no more often

    private static readonly TimeSpan s_mostBetweenFaults = TimeSpan.FromSeconds(1.5);

    private readonly Ledger _ledger = new(output);
    private readonly Random _random = new(options.Seed);
    private readonly long _start = Stopwatch.GetTimestamp();
    private long _starvedUntil = long.MinValue; // requests asked before this moment may be refused
    private volatile int _crashes;
    private volatile bool _ending;

    /// <summary>True where nothing was violated.</summary>
    public async Task<bool> RunAsync()
    {
        Say($"seed {options.Seed}, {options.Faults} faults, {options.Clients} clients, {Path.GetFileName(options.Model)}");
        IReadOnlyList<KnownRequest> requests = Requests.Create(KnownRequests, _random);
        using PosixSignalRegistration interrupt = EndOn(PosixSignal.SIGINT), terminate = EndOn(PosixSignal.SIGTERM);
        for (int done = 0; done < options.Faults && !_ending; done += FaultsOfARound)
        {
            int round = Math.Min(FaultsOfARound, options.Faults - done);
            foreach ((string name, int share, Func<Arena> create) in Arenas())
            {
                int faults = options.Arena == name ? round : options.Arena == "all" ? round * share / AllShares : 0;
                if (faults > 0 && !_ending)
                    await RunAsync(create(), faults, requests);
            }
        }
        _ledger.Print(output);
        Say(_ledger.Violations.Count == 0 ? "nothing hung, wrong, lost or left" : $"{_ledger.Violations.Count} violations, seed {options.Seed}");
        return _ledger.Violations.Count == 0;
    }

    private PosixSignalRegistration EndOn(PosixSignal signal) => PosixSignalRegistration.Create(signal, asked =>
    {
        asked.Cancel = true;
        _ending = true;
        Say("asked to end: after this fault");
    });

    private IEnumerable<(string Name, int Share, Func<Arena> Create)> Arenas()
    {
        yield return ("local", 3, () => new LocalArena(options, shrinks: false));
        yield return ("shrink", 1, () => new LocalArena(options, shrinks: true));
        yield return ("ring", 2, () => new RingArena(options));
    }

    private async Task RunAsync(Arena arena, int faults, IReadOnlyList<KnownRequest> requests)
    {
        await using Arena disposed = arena;
        await arena.StartAsync();
        Say($"{arena.Name}: serving; learns the right answers");
        await using (LoadGenerator learner = Load(arena, requests, NoteEnd))
            _ledger.AddViolations(await learner.LearnAsync());
        await arena.SettleAsync();

        Queue<Fault> deck = new();
        for (int done = 0; done < faults && !_ending;)
        {
            await using (LoadGenerator load = Load(arena, requests, NoteEnd))
            {
                load.Start();
                for (int until = Math.Min(faults, done + FaultsBetweenAudits); done < until && !_ending; done++)
                {
                    int ended = _ledger.Requests;
                    await _random.DelayAsync(0.05, 0.8);
                    await Arena.UntilAsync(() => _ledger.Requests >= ended + options.Clients / 4, s_mostBetweenFaults);
                    if (deck.Count == 0)
                        deck = _random.Shuffled(arena.Deck);
                    if (!await InjectAsync(arena, deck.Dequeue(), done + 1, faults))
                    {
                        await load.StopAsync(s_patience);
                        output.WriteLine(arena.Gateway.Tail);
                        return;
                    }
                }
                await load.StopAsync(s_patience);
            }
            Say($"{arena.Name}: {await arena.DescribeAsync()}");
            _ledger.AddViolations(await arena.AuditAsync());
        }
        await StopUnderLoadAsync(arena, requests);
        if (_ledger.Violations.Count > 0)
            output.WriteLine(arena.Gateway.Tail);
    }

    private LoadGenerator Load(Arena arena, IReadOnlyList<KnownRequest> requests, Action<Way, Outcome, TimeSpan> ended) =>
        new(options.Clients, requests, (arena.HttpPort, arena.GrpcPort), new Random(_random.Next()), ended);

    /// <summary>Makes a fault happen and waits until the group serves again; now and then one comes on the heels of another. False where it does not serve again.</summary>
    private async Task<bool> InjectAsync(Arena arena, Fault fault, int number, int of)
    {
        ServerStatus before = await arena.StatusAsync();
        IReadOnlyList<int> workers = [];
        await Arena.UntilAsync(() => (workers = arena.Workers()).Count > 1, s_patience); // on the heels of one that ended all
        if (fault.Starves)
            Volatile.Write(ref _starvedUntil, long.MaxValue);
        _crashes += fault.IsCrash ? 1 : 0;
        long start = Stopwatch.GetTimestamp();
        await fault.InjectAsync(_random);
        TimeSpan lasted = Stopwatch.GetElapsedTime(start);
        if (!fault.Starves && number < of && _random.Percent(ShareOnTheHeels))
        {
            Say($"{arena.Name}: {number}/{of} {fault.Name}: the next comes at once");
            return true;
        }
        ServerStatus? after = await arena.WaitServiceAsync(before, fault.IsLoss, fault.Starves ? s_patience + s_starved : s_patience);
        if (fault.Starves)
            Volatile.Write(ref _starvedUntil, Stopwatch.GetTimestamp());
        TimeSpan toService = Stopwatch.GetElapsedTime(start) - lasted;
        if (after is null)
        {
            ServerStatus now = await arena.StatusAsync();
            _ledger.AddViolations([$"{arena.Name}: {fault.Name}: no service {toService.TotalSeconds:F0} s after it: epoch {before.Epoch} before, {now.Epoch} now, {now.State}, {now.Load}"]);
            return false;
        }
        _ledger.Add(new FaultRecord(arena.Name, fault.Name, after.Epoch > before.Epoch, arena.Workers().Intersect(workers).Count(), lasted, toService));
        Say(string.Create(CultureInfo.InvariantCulture,
            $"{arena.Name}: {number}/{of} {fault.Name}: lasted {lasted.TotalSeconds:F1} s, service after {toService.TotalSeconds:F1} s, epoch {after.Epoch}, {_ledger.Requests} requests, {_ledger.Violations.Count} violations"));
        return true;
    }

    /// <summary>The server is asked to stop while clients ask, at times without all its workers: its end is an answer to all of them, and nothing is left.</summary>
    private async Task StopUnderLoadAsync(Arena arena, IReadOnlyList<KnownRequest> requests)
    {
        await using LoadGenerator load = Load(arena, requests, NoteEndWhileStopping);
        load.Start();
        await _random.DelayAsync(0.3, 1.5);
        if (_random.Percent(50))
            await arena.Deck[0].InjectAsync(_random);
        Task<IReadOnlyList<string>> stopping = arena.StopAsync();
        await load.StopAsync(s_patience);
        _ledger.AddViolations(await stopping);
        Say($"{arena.Name}: stopped");
    }

    private void NoteEnd(Way way, Outcome outcome, TimeSpan took)
    {
        long asked = Stopwatch.GetTimestamp() - (long)(took.TotalSeconds * Stopwatch.Frequency);
        bool excused = outcome.Kind switch { OutcomeKind.Refused => asked < Volatile.Read(ref _starvedUntil), OutcomeKind.Suspected => _crashes >= 2, _ => true };
        _ledger.Add(way, excused ? outcome : outcome with { Kind = OutcomeKind.Lost }, took);
    }

    private void NoteEndWhileStopping(Way way, Outcome outcome, TimeSpan took) =>
        _ledger.Add(way, outcome.Kind is OutcomeKind.Lost or OutcomeKind.Refused or OutcomeKind.Suspected ? outcome with { Kind = OutcomeKind.Stopped } : outcome, took);

    private void Say(string what) => output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{Stopwatch.GetElapsedTime(_start).TotalSeconds,7:F1} {what}"));
}
