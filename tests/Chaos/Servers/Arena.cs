using System.Diagnostics;
using System.Globalization;
using Grpc.Core;
using Grpc.Net.Client;
using TpServe.Chaos.Faults;
using TpServe.Protos.V1;
using TpServe.Testing;

namespace TpServe.Chaos.Servers;

/// <summary>How a server does at one moment.</summary>
/// <param name="Epoch">The life of its group; grows with every loss.</param>
/// <param name="State">Of the group.</param>
/// <param name="Load">What runs, waits and is held.</param>
internal sealed record ServerStatus(long Epoch, GroupState State, GetLoadResponse Load);

/// <summary>A gateway with its workers, the files it lives on, and the faults that can happen to it.</summary>
/// <remarks>Everything it makes lies in one folder of its own: what is left there after the end is a leak.</remarks>
internal abstract class Arena : IAsyncDisposable
{
    // Descriptors that a server may have more at an idle moment than at its first: the runtime's own come and go.
    private const int DescriptorSlack = 12;

    private const string TemporaryVariable = "TMPDIR";

    // A few requests of the load fill it: they take blocks from each other.
    private const int KvCacheTokens = 320;
    private static readonly TimeSpan s_startTimeout = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan s_idleTimeout = TimeSpan.FromSeconds(10);

    private GrpcChannel? _channel;
    private ServerProcess? _gateway;
    private IReadOnlyDictionary<string, int> _descriptors = new Dictionary<string, int>();

    /// <param name="name">For the report.</param>
    /// <param name="degree">Workers of the group.</param>
    /// <param name="options">What the run is asked.</param>
    protected Arena(string name, int degree, ChaosOptions options)
    {
        Name = name;
        Degree = degree;
        Options = options;
        Folder = Directory.CreateTempSubdirectory("chaos-").FullName;
        Temporary = Directory.CreateDirectory(Path.Combine(Folder, "tmp")).FullName;
        Model = new ModelFile(options.Model, Path.Combine(Folder, Path.GetFileName(options.Model)));
    }

    public string Name { get; }

    /// <summary>Workers of the group.</summary>
    public int Degree { get; }

    public int HttpPort { get; } = Processes.FreePort();

    public int GrpcPort { get; } = Processes.FreePort();

    /// <summary>The model's file, which faults move and replace.</summary>
    public ModelFile Model { get; }

    /// <summary>The gateway's process.</summary>
    public ServerProcess Gateway => _gateway!;

    /// <summary>What can happen here, as often as it is to happen among others; the plainest first.</summary>
    public abstract IReadOnlyList<Fault> Deck { get; }

    protected ChaosOptions Options { get; }

    protected string Folder { get; }

    /// <summary>TMPDIR of every process of the arena.</summary>
    protected string Temporary { get; }

    private IReadOnlyDictionary<string, string> Environment => new Dictionary<string, string> { [TemporaryVariable] = Temporary };

    // Faults come as often here as losses must never come to a server: the circuit opens where nothing can start, and not because of how many there were.
    private string[] CommonFlags =>
    [
        "--model", Model.Path, "--http", $"127.0.0.1:{HttpPort}", "--grpc", $"127.0.0.1:{GrpcPort}", "--log-level", "information",
        "--kv-cache", KvCacheTokens.ToString(CultureInfo.InvariantCulture), "--crash-limit", "6", "--crash-window", "3s", "--drain-timeout", "10s",
        "--partition", "even", "--profile-cache", "off", // all workers take part, whatever is measured: a fault must hit a rank
    ];

    /// <summary>Flags of the gateway beside model and ports.</summary>
    protected abstract IEnumerable<string> Flags { get; }

    /// <summary>Starts everything and waits until it serves.</summary>
    public virtual async Task StartAsync()
    {
        _gateway = Launch("Gateway", [.. CommonFlags, .. Flags], []);
        _channel = GrpcChannel.ForAddress($"http://127.0.0.1:{GrpcPort}");
        if (!await UntilAsync(async () => await TryStatusAsync() is { State: GroupState.Ready }, s_startTimeout))
            throw new InvalidOperationException($"{Name}: the server was not ready within {s_startTimeout.TotalSeconds:F0} s.{System.Environment.NewLine}{Gateway.Tail}");
    }

    /// <summary>Remembers how many descriptors the idle server holds, for <see cref="AuditAsync"/>.</summary>
    public async Task SettleAsync()
    {
        await UntilAsync(async () => (await TryStatusAsync())?.Load is { RunningSequences: 0, WaitingSequences: 0 }, s_idleTimeout);
        _descriptors = Processes.Descriptors(Gateway.Id);
    }

    /// <summary>Process ids of the workers that live at this moment.</summary>
    public abstract IReadOnlyList<int> Workers();

    /// <exception cref="RpcException">The gateway does not answer, which it always must.</exception>
    public async Task<ServerStatus> StatusAsync()
    {
        Control.ControlClient control = new(_channel);
        DateTime soon = DateTime.UtcNow + TimeSpan.FromSeconds(10);
        GetTopologyResponse topology = await control.GetTopologyAsync(new GetTopologyRequest(), deadline: soon);
        return new ServerStatus(topology.Epoch, topology.State, await control.GetLoadAsync(new GetLoadRequest(), deadline: soon));
    }

    /// <summary>Process ids of the ranks of the group as it is, or was last.</summary>
    protected async Task<IReadOnlyList<int>> RanksAsync() =>
        [.. (await new Control.ControlClient(_channel).GetTopologyAsync(new GetTopologyRequest())).Ranks.Select(rank => rank.Pid)];

    /// <summary>Nothing is asked of the server: what it holds all the same.</summary>
    public async Task<IReadOnlyList<string>> AuditAsync()
    {
        List<string> leaks = [];
        GetLoadResponse load = new();
        await Expect(
            async () => (load = (await StatusAsync()).Load) is { RunningSequences: 0, WaitingSequences: 0, UsedBlocks: 0 },
            () => $"{load.RunningSequences} sequences run, {load.WaitingSequences} wait, {load.UsedBlocks} blocks are used");
        await Expect(() => Now(Workers().Count == Degree), () => $"{Workers().Count} workers live, not {Degree}");
        await Expect(
            () => Now(DescriptorCount <= _descriptors.Values.Sum() + DescriptorSlack),
            () => $"the gateway has {DescriptorCount} descriptors open, {_descriptors.Values.Sum()} at its first idle moment; more than then: {string.Join(", ", NewDescriptors())}");
        await Expect(() => Now(Segments().Length == 0), () => $"segments have names: {string.Join(' ', Segments())}");
        await Expect(() => Now(Sockets().Length <= Degree), () => $"the workers' folder holds {string.Join(' ', Sockets())}");
        return leaks;

        static Task<bool> Now(bool holds) => Task.FromResult(holds);

        async Task Expect(Func<Task<bool>> holds, Func<string> otherwise)
        {
            if (!await UntilAsync(holds, s_idleTimeout))
                leaks.Add($"{Name}: idle, but {otherwise()}");
        }
    }

    /// <summary>Asks the server to stop: what is left after it.</summary>
    public async Task<IReadOnlyList<string>> StopAsync()
    {
        List<string> leaks = [];
        if (await Gateway.StopAsync() is not 0 and var code)
            leaks.Add(code is null ? $"{Name}: the gateway did not stop" : $"{Name}: the gateway ended with code {code}");
        await StopOthersAsync();
        int[] left = [];
        if (!await UntilAsync(() => (left = Processes.WithVariable(TemporaryVariable, Temporary)).Length == 0, s_idleTimeout))
            leaks.Add($"{Name}: processes are left: {string.Join(' ', left)}");
        if (Segments() is { Length: > 0 } segments)
            leaks.Add($"{Name}: left in /dev/shm: {string.Join(' ', segments)}");
        if (Directory.GetFileSystemEntries(Temporary) is { Length: > 0 } files)
            leaks.Add($"{Name}: left in the temporary folder: {string.Join(' ', files.Select(Path.GetFileName))}");
        return leaks;
    }

    private int DescriptorCount => Processes.Descriptors(Gateway.Id).Values.Sum();

    private IEnumerable<string> NewDescriptors() => Processes.Descriptors(Gateway.Id)
        .Select(kind => (kind.Key, More: kind.Value - _descriptors.GetValueOrDefault(kind.Key)))
        .Where(kind => kind.More > 0)
        .Select(kind => $"{kind.More.ToString(CultureInfo.InvariantCulture)} {kind.Key}");

    /// <summary>What has happened in it so far, for people.</summary>
    public async Task<string> DescribeAsync()
    {
        GetLoadResponse load = (await StatusAsync()).Load;
        return string.Create(CultureInfo.InvariantCulture,
            $"{load.Steps} steps, {load.GeneratedTokens} tokens, {load.Recoveries} recoveries, {load.Preemptions} preemptions, {load.CacheTokensFound} of {load.CacheTokensAsked} prompt tokens from the cache, {load.DraftTokensRight} of {load.DraftTokensGuessed} guesses right, {DescriptorCount} descriptors, {Processes.ResidentBytes(Gateway.Id) >> 20} MiB");
    }

    /// <summary>Waits until the group serves again: past an epoch, and with a step made since.</summary>
    /// <param name="before">Before the fault.</param>
    /// <param name="isLoss">The fault ends the epoch.</param>
    /// <param name="timeout">How long it may take.</param>
    /// <returns>How it was then; null where the time was not enough.</returns>
    public async Task<ServerStatus?> WaitServiceAsync(ServerStatus before, bool isLoss, TimeSpan timeout)
    {
        ServerStatus? first = null, last = null;
        bool serves = await UntilAsync(
            async () =>
            {
                last = await StatusAsync();
                if (last.State != GroupState.Ready || (isLoss && last.Epoch <= before.Epoch))
                    return false;
                if (first?.Epoch != last.Epoch)
                    first = last;
                return last.Load.Steps > first.Load.Steps;
            },
            timeout);
        return serves ? last : null;
    }

    public virtual async ValueTask DisposeAsync()
    {
        _channel?.Dispose();
        if (_gateway is not null)
            await _gateway.DisposeAsync();
        Directory.Delete(Folder, recursive: true);
    }

    /// <summary>Waits until something holds; false at the deadline.</summary>
    public static Task<bool> UntilAsync(Func<bool> holds, TimeSpan timeout) => UntilAsync(() => Task.FromResult(holds()), timeout);

    /// <inheritdoc cref="UntilAsync(Func{bool}, TimeSpan)"/>
    public static async Task<bool> UntilAsync(Func<Task<bool>> holds, TimeSpan timeout)
    {
        using PeriodicTimer pause = new(TimeSpan.FromMilliseconds(20));
        long start = Stopwatch.GetTimestamp();
        while (!await holds())
        {
            if (Stopwatch.GetElapsedTime(start) > timeout)
                return false;
            await pause.WaitForNextTickAsync();
        }
        return true;
    }

    /// <summary>Ends what is not the gateway's.</summary>
    protected virtual Task StopOthersAsync() => Task.CompletedTask;

    /// <summary>Starts a program in the arena.</summary>
    protected ServerProcess Launch(string room, IEnumerable<string> arguments, IReadOnlyList<string> prefix) => new(
        room, arguments, Environment, prefix, Options.Log is { } log ? Path.Combine(Directory.CreateDirectory(log).FullName, $"{Name}-{room}.log".ToLowerInvariant()) : null);

    private async Task<ServerStatus?> TryStatusAsync()
    {
        if (Gateway.HasExited)
            throw new InvalidOperationException($"{Name}: the gateway ended.{System.Environment.NewLine}{Gateway.Tail}");
        try
        {
            return await StatusAsync();
        }
        catch (RpcException)
        {
            return null; // it does not listen yet
        }
    }

    private static string[] Segments() => [.. Directory.GetFiles("/dev/shm", "tpserve-*").Select(path => Path.GetFileName(path))];

    private string[] Sockets() => [.. Directory.GetDirectories(Temporary, "tpserve-*").SelectMany(folder => Directory.GetFiles(folder, "w*"))];
}
