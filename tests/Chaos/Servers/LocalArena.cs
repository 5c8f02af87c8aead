using TpServe.Chaos.Faults;
using TpServe.Testing;

namespace TpServe.Chaos.Servers;

/// <summary>Workers that the gateway starts, over shared memory.</summary>
/// <param name="options">What the run is asked.</param>
/// <param name="shrinks">What is left of a group goes on where it is lost, and is whole again once nothing runs.</param>
internal sealed class LocalArena(ChaosOptions options, bool shrinks) : Arena(shrinks ? "shrink" : "local", degree: 3, options)
{
    private const string Filler = "/dev/shm/chaos-filler";

    // Ends a process, and is none of those that somebody sends who wants just that: the gateway must take it for the worker's own doing.
    private const string CrashSignal = "USR2";

    /// <inheritdoc/>
    public override IReadOnlyList<Fault> Deck
    {
        get
        {
            List<Fault> deck =
            [
                .. Times(6, new Fault("kill a worker", IsLoss: true, Starves: false, random => SignalOneAsync(random, "KILL"))),
                .. Times(2, new Fault("terminate a worker", IsLoss: true, Starves: false, random => SignalOneAsync(random, "TERM"))),
                .. Times(3, new Fault("kill two at once", IsLoss: true, Starves: false, random => KillAtOnceAsync(random, 2))),
                .. Times(1, new Fault("kill all at once", IsLoss: true, Starves: false, random => KillAtOnceAsync(random, Degree))),
                .. Times(5, new Fault("kill one, another during recovery", IsLoss: true, Starves: false, KillDuringRecoveryAsync)),
                .. Times(2, new Fault("a worker crashes by itself", IsLoss: true, Starves: false, random => SignalOneAsync(random, CrashSignal)) { IsCrash = true }),
                .. Times(3, new Fault("stop and continue within 1.5 s", IsLoss: false, Starves: false, random => FreezeAsync(random, 0.05, 1.5))),
                .. Times(1, new Fault("stop about as long as is suspect", IsLoss: false, Starves: false, random => FreezeAsync(random, 2, 5))),
                .. Times(1, new Fault("freeze for good", IsLoss: true, Starves: false, random => SignalOneAsync(random, "STOP"))),
            ];
            if (shrinks)
                return deck;
            deck.AddRange(
            [
                .. Times(1, new Fault("model taken away, kill", IsLoss: true, Starves: true, random => WithoutModelAsync(random, Model.TakeAway, 0.2, 1))),
                .. Times(1, new Fault("another model in its place, kill", IsLoss: true, Starves: true, random => WithoutModelAsync(random, Model.Replace, 0.2, 1))),
                .. Times(1, new Fault("model taken away until requests are refused, kill", IsLoss: true, Starves: true, random => WithoutModelAsync(random, Model.TakeAway, 3, 4))),
            ]);
            if (Options.Inside)
                deck.AddRange(Times(1, new Fault("/dev/shm full, kill", IsLoss: true, Starves: true, FillSharedMemoryAsync)));
            return deck;
        }
    }

    /// <inheritdoc/>
    protected override IEnumerable<string> Flags => ["--tp", $"{Degree}", "--transport", "shm", "--on-rank-loss", shrinks ? "shrink" : "restart"];

    /// <inheritdoc/>
    public override IReadOnlyList<int> Workers() => [.. Processes.Children(Gateway.Id).Where(Processes.IsRunning)];

    internal static IEnumerable<Fault> Times(int count, Fault fault) => Enumerable.Repeat(fault, count);

    private static void Signal(int pid, string name) => Processes.Signal(pid, name);

    /// <summary>Who computes at this moment; where the group is down, all there are. What a shrunk group does without is started again beside it, and no loss to it.</summary>
    private async Task<IReadOnlyList<int>> MembersAsync()
    {
        IReadOnlyList<int> alive = Workers(), members = [.. (await RanksAsync()).Intersect(alive)];
        return members.Count > 0 ? members : alive;
    }

    private async Task SignalOneAsync(Random random, string name) => Signal(random.OneOf(await MembersAsync()), name);

    private async Task KillAtOnceAsync(Random random, int count)
    {
        foreach (int pid in random.Shuffled(await MembersAsync()).Take(count))
            Signal(pid, "KILL");
    }

    private async Task KillDuringRecoveryAsync(Random random)
    {
        IReadOnlyList<int> before = Workers();
        int first = random.OneOf(await MembersAsync());
        Signal(first, "KILL");
        if (random.Percent(50))
        {
            // The one that is started in its place, at whatever it does by then.
            await UntilAsync(() => Workers().Except(before).Any(), TimeSpan.FromSeconds(10));
            await random.DelayAsync(0, 0.8);
            Signal(Workers().Except(before).FirstOrDefault(random.OneOf(before)), "KILL");
            return;
        }
        await random.DelayAsync(0, 0.5);
        Signal(random.OneOf([.. before.Where(pid => pid != first)]), "KILL");
    }

    private async Task FreezeAsync(Random random, double least, double most)
    {
        int pid = random.OneOf(await MembersAsync());
        Signal(pid, "STOP");
        await random.DelayAsync(least, most);
        Signal(pid, "CONT");
    }

    private async Task WithoutModelAsync(Random random, Action change, double least, double most)
    {
        change();
        try
        {
            await SignalOneAsync(random, "KILL");
            await random.DelayAsync(least, most);
        }
        finally
        {
            Model.PutBack();
        }
    }

    private async Task FillSharedMemoryAsync(Random random)
    {
        try
        {
            await using (FileStream filler = File.Create(Filler))
            {
                try
                {
                    byte[] zeros = new byte[64 << 10];
                    while (true)
                        filler.Write(zeros);
                }
                catch (IOException)
                {
                    // Full.
                }
            }
            await SignalOneAsync(random, "KILL");
            await random.DelayAsync(0.5, 2);
        }
        finally
        {
            File.Delete(Filler);
        }
    }
}
