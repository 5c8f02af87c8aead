using System.Globalization;
using System.Threading.Channels;
using TpServe.Checkpoint;
using TpServe.Gateway.Settings;
using TpServe.Gateway.Workers;
using TpServe.Links;
using TpServe.Protos.V1;
using TpServe.Sharding;

namespace TpServe.Gateway.Commands;

/// <summary>What the server says of itself at the terminal while it starts: model, plan, load progress, transport, addresses.</summary>
/// <param name="output">The terminal.</param>
/// <param name="options">Checked settings.</param>
/// <param name="links">What guards the links to workers elsewhere.</param>
/// <param name="time">The clock.</param>
/// <param name="before">How long the process has run.</param>
/// <remarks>Threads   progress comes from any thread. Each rank prints a line at every quarter, so that logs stay readable.</remarks>
internal sealed class Banner(TerminalLines output, GatewayOptions options, LinkSecurity links, TimeProvider time, TimeSpan before) : IGroupObserver
{
    private readonly Lock _gate = new();
    private long _since = time.GetTimestamp(); // since when nothing is served
    private bool _served;
    private bool _serves;
    private volatile bool _isMeasured;
    private readonly Dictionary<int, int> _quarterOfRank = [];

    /// <summary>Before anything is loaded.</summary>
    /// <param name="checkpoint">The model.</param>
    /// <param name="draft">The one that guesses ahead; null = none does.</param>
    /// <param name="plan">The group's plan.</param>
    /// <param name="version">Release.</param>
    /// <param name="isMeasured">Whether the split is chosen when the workers have been timed.</param>
    public void Starting(ModelCheckpoint checkpoint, ModelCheckpoint? draft, GroupPlan plan, string version, bool isMeasured)
    {
        _isMeasured = isMeasured;
        Line("TpServe", version);
        Line("model", ModelSummary.Of(checkpoint));
        foreach (string warning in checkpoint.Warnings)
            Line("note", warning);
        if (draft is not null)
            Line("draft", string.Create(CultureInfo.InvariantCulture, $"{ModelSummary.Of(draft)}; guesses up to {options.DraftTokens} tokens a step, where that is faster"));
        Line("device", plan.Devices.Reason);
        Line("group", string.Create(CultureInfo.InvariantCulture,
            $"{plan.Degree} workers{ThreadsOf(plan)}, kv {Words.KvDtypes.Of(options.KvDtype)}, context {plan.MaxModelLen}"));
        if (options.Workers.Count > 0)
            Line("links", links.Certificate is { } certificate ? $"TLS 1.3, both ends pinned to {certificate}" : $"not encrypted{(options.InsecureLinks ? $" ({LinkSecurity.InsecureFlag})" : ", and within this host")}");
        Access();
        Line("cache", string.Create(CultureInfo.InvariantCulture, $"{(long)plan.KvBlocks * plan.BlockTokens} tokens in blocks of {plan.BlockTokens}: {plan.CacheReason}"));
        foreach (ShardPlan shard in isMeasured ? [] : plan.Shards)
            Line("plan", string.Create(CultureInfo.InvariantCulture, $"{shard}, {ShardSizes.WeightBytes(checkpoint, shard) / 1048576.0:F1} MiB"));
        foreach (ShardPlan shard in plan.Draft?.Shards ?? [])
            Line("plan", string.Create(CultureInfo.InvariantCulture, $"draft {shard}, {ShardSizes.WeightBytes(draft!, shard) / 1048576.0:F1} MiB"));
    }

    /// <summary>Where models of the hub were found.</summary>
    public void Found(IReadOnlyList<string> lines)
    {
        foreach (string line in lines)
            Line("hub", line);
    }

    /// <summary>Who may call.</summary>
    public void Access()
    {
        Line("access", options.Keys.Length > 0 ? $"by the keys in {options.Keys}"
            : Endpoints.AreLoopback(options.Http, options.Grpc) ? "everybody on this host; --keys FILE asks for a key"
            : $"EVERYBODY who reaches {options.Http} or {options.Grpc}, from other hosts too: --keys FILE asks for a key");
        if (options.ServerCert.Length > 0)
            Line("tls", options.ClientCa.Length > 0 ? $"{options.ServerCert}; clients need a certificate of {options.ClientCa}" : options.ServerCert);
    }

    /// <summary>Once the tokenizer is there: the tokens that end an answer.</summary>
    public void Ends(string tokens) => Line("ends", tokens);

    public void Loading(int rank, string stage, long doneBytes, long totalBytes)
    {
        int quarter = totalBytes <= 0 ? 0 : (int)(4 * doneBytes / totalBytes);
        lock (_gate)
        {
            if (_quarterOfRank.TryGetValue(rank, out int before) && before >= quarter)
                return;
            _quarterOfRank[rank] = quarter;
        }
        Line("load", string.Create(CultureInfo.InvariantCulture, $"rank {rank}: {stage} {25 * quarter} %"));
    }

    public void Ready(GetTopologyResponse topology)
    {
        lock (_gate)
            _quarterOfRank.Clear();
        foreach (RankInfo rank in topology.Ranks)
            Line("rank", string.Create(CultureInfo.InvariantCulture,
                $"{rank.Rank}: pid {rank.Pid}, {rank.Device}, {rank.Backend}, weights {rank.WeightBytes / 1048576.0:F1} MiB, kv {rank.KvBytes / 1048576.0:F1} MiB, loaded in {rank.LoadSeconds:F1} s{(rank.LoadSeconds > 0 ? string.Create(CultureInfo.InvariantCulture, $" ({rank.WeightBytes / rank.LoadSeconds / 1e9:F1} GB/s)") : "")}"));
        foreach (RankInfo rank in _isMeasured ? topology.Ranks : [])
            Line("plan", string.Create(CultureInfo.InvariantCulture,
                $"rank {rank.Rank}: heads {Text(rank.Heads)}, kv heads {Text(rank.KvHeads)}, mlp leaves {Text(rank.MlpLeaves)}, vocabulary {Text(rank.VocabRows)}"));
        foreach (RankInfo rank in topology.Ranks)
            foreach (PathInfo path in rank.Paths)
                Line("path", string.Create(CultureInfo.InvariantCulture, $"{rank.Rank} to {path.Peer}: {path.RoundTripMicroseconds:F1} us there and back, {path.BytesPerSecond / 1e9:F1} GB/s"));
        RankInfo first = topology.Ranks[0];
        Line("transport", string.Create(CultureInfo.InvariantCulture, $"{first.Transport}: {first.TransportReason}; small all-reduce {first.AllReduceMicroseconds:F1} us"));
        if (first.Wire != Words.Wires.Of(Protos.Worker.Wire.F32))
            Line("wire", $"{first.Wire}: partial sums are rounded to be sent; outputs depend on degree, split and hosts");
        if (first.OverlapRows > 0)
            Line("overlap", $"of prompts, the sums of {first.OverlapRows} tokens travel while the next are computed");
        string ready;
        lock (_gate)
        {
            TimeSpan waited = time.GetElapsedTime(_since) + (_served ? TimeSpan.Zero : before);
            ready = string.Create(CultureInfo.InvariantCulture, $"ready {(_served ? "again " : "")}after {waited.TotalSeconds:F1} s");
            _served = _serves = true;
        }
        Line("serving", $"HTTP {(options.ServerCert.Length > 0 ? "https" : "http")}://{options.Http}   gRPC {options.Grpc}   {ready}");

        static string Text(IndexRange range) => range.Start == range.End ? "none" : string.Create(CultureInfo.InvariantCulture, $"{range.Start}..{range.End - 1}");
    }

    /// <summary>A split was chosen by measurement.</summary>
    /// <param name="choice">Which, and why.</param>
    public void Split(string choice) => Line("split", choice);

    private static string ThreadsOf(GroupPlan plan) => plan.Threads.All(count => count == 0) ? ""
        : plan.Threads.Distinct().Count() == 1 ? string.Create(CultureInfo.InvariantCulture, $" x {plan.Threads[0]} threads")
        : $" of {string.Join(", ", plan.Threads.Select(count => count == 0 ? "all" : count.ToString(CultureInfo.InvariantCulture)))} threads";

    public void Lost(long epoch, string reason)
    {
        NoteOutage();
        Line("lost", string.Create(CultureInfo.InvariantCulture, $"epoch {epoch}: {reason} Starting over."));
    }

    public void Broken(string reason, TimeSpan? retryAfter)
    {
        NoteOutage();
        Line("broken", retryAfter is { } pause
            ? string.Create(CultureInfo.InvariantCulture, $"{reason} Requests are refused; the next attempt is in {pause.TotalSeconds:F0} s.")
            : $"{reason} Requests are refused until the server is started anew.");
    }

    /// <summary>An outage begins with its first loss, however many starts fail in it.</summary>
    private void NoteOutage()
    {
        lock (_gate)
        {
            if (_serves)
                _since = time.GetTimestamp();
            _serves = false;
        }
    }

    private void Line(string what, string text) => output.Write($"{what,-9} {text}");
}

/// <summary>Lines for a terminal that may be slow, full or gone: who prints never waits for it and never fails by it; what it cannot take is dropped.</summary>
/// <remarks>Threads   any. One thread of its own writes; <see cref="Dispose"/> gives it a moment for what is queued.</remarks>
internal sealed class TerminalLines : IDisposable
{
    private const int MostQueued = 1024;
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(1);

    private readonly Channel<string> _lines = Channel.CreateBounded<string>(new BoundedChannelOptions(MostQueued) { FullMode = BoundedChannelFullMode.DropWrite, SingleReader = true });
    private readonly Thread _writer;

    public TerminalLines(TextWriter output)
    {
        _writer = new Thread(() => Write(output)) { IsBackground = true, Name = "terminal" };
        _writer.Start();
    }

    /// <summary>Queues a line.</summary>
    public void Write(string line) => _lines.Writer.TryWrite(line);

    public void Dispose()
    {
        _lines.Writer.TryComplete();
        _writer.Join(s_patience);
    }

    private void Write(TextWriter output)
    {
        while (_lines.Reader.WaitToReadAsync().AsTask().GetAwaiter().GetResult())
        {
            while (_lines.Reader.TryRead(out string? line))
            {
                try
                {
                    output.WriteLine(line);
                }
                catch (Exception fault) when (fault is IOException or UnauthorizedAccessException or ObjectDisposedException)
                {
                    // Nobody reads it, or its disk is full: perhaps the next line finds room again.
                }
            }
        }
    }
}
