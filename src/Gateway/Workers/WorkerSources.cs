using System.Collections.Concurrent;
using System.Security.Cryptography;
using TpServe.Links;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Workers;

/// <summary>Workers that this gateway starts on its host, with a secret of their own.</summary>
/// <remarks>
/// Some may be started ahead, before anybody knows what they will load: their runtime comes up while the gateway reads the model and builds its services.
/// Threads  any, but for <see cref="StartAhead"/>, <see cref="EndSpare"/> and <see cref="Dispose"/>: one at a time.
/// </remarks>
internal sealed class LocalWorkers(string logLevel) : IWorkerSource
{
    private static readonly TimeSpan s_end = TimeSpan.FromSeconds(3);

    private readonly string _secret = Convert.ToHexString(RandomNumberGenerator.GetBytes(32));
    private readonly Lazy<WorkerFolder> _folder = new(() => WorkerFolder.Create(WorkerFolder.Roots), LazyThreadSafetyMode.ExecutionAndPublication);
    private readonly ConcurrentQueue<StartedWorker> _ahead = new();

    /// <inheritdoc/>
    public TimeSpan Patience => TimeSpan.FromSeconds(15);

    /// <inheritdoc/>
    public HeldWorker Open(int seat)
    {
        if (!_ahead.TryDequeue(out StartedWorker? worker))
            worker = Start();
        return new HeldWorker(seat, worker.Link, worker.Process);
    }

    /// <summary>Starts so many workers, for the seats that are opened first.</summary>
    /// <exception cref="WorkerStartException">The worker's program is missing or does not start.</exception>
    public void StartAhead(int count)
    {
        for (int i = 0; i < count; i++)
            _ahead.Enqueue(Start());
    }

    /// <summary>What a worker that was started ahead says of this host.</summary>
    /// <exception cref="WorkerStartException">There is none, or it ended, or does not answer in time.</exception>
    public async Task<HelloReply> AskAsync(bool surveyGpus, CancellationToken cancellation)
    {
        if (!_ahead.TryPeek(out StartedWorker? worker))
            throw new WorkerStartException("no worker was started ahead.");
        using CancellationTokenSource ended = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        Task<HelloReply> hello = worker.Link.HelloAsync(surveyGpus, Patience, ended.Token);
        if (await Task.WhenAny(hello, worker.Process.Exited) == hello)
            return await hello;
        await ended.CancelAsync();
        await ((Task)hello).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        cancellation.ThrowIfCancellationRequested();
        throw new WorkerStartException($"worker pid {worker.Process.Id} ended with code {await worker.Process.Exited}: {worker.Process.Tail}");
    }

    /// <summary>Ends those that were started ahead but for so many.</summary>
    public void EndSpare(int kept)
    {
        while (_ahead.Count > kept && _ahead.TryDequeue(out StartedWorker? spare))
            spare.End();
    }

    public void Dispose()
    {
        EndSpare(kept: 0);
        if (_folder.IsValueCreated)
            _folder.Value.Dispose();
    }

    private StartedWorker Start()
    {
        string socket = _folder.Value.NewSocket();
        WorkerProcess process = WorkerProcess.Start(socket, _secret, logLevel);
        return new StartedWorker(new WorkerClient("unix:" + socket, _secret, LinkSecurity.None), process);
    }

    private sealed record StartedWorker(WorkerClient Link, WorkerProcess Process)
    {
        /// <summary>It holds nothing yet: it is killed at once.</summary>
        public void End()
        {
            Link.Dispose();
            Process.Kill();
            Process.DisposeAsync().AsTask().Wait(s_end);
        }
    }
}

/// <summary>Workers that run elsewhere and outlive gateways.</summary>
/// <param name="addresses">By seat.</param>
/// <param name="secretFile">File that holds the secret they share with the gateway.</param>
/// <param name="links">What guards the links to them.</param>
/// <param name="patience">How long they may take to answer.</param>
internal sealed class ExternalWorkers(IReadOnlyList<string> addresses, string secretFile, LinkSecurity links, TimeSpan patience) : IWorkerSource
{
    /// <inheritdoc/>
    public TimeSpan Patience => patience;

    /// <inheritdoc/>
    public HeldWorker Open(int seat)
    {
        string secret;
        try
        {
            secret = File.ReadAllText(secretFile).Trim();
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new WorkerStartException($"the secret file '{secretFile}' cannot be read: {fault.Message}", fault);
        }
        return new HeldWorker(seat, new WorkerClient(addresses[seat], secret, links), process: null);
    }

    public void Dispose()
    {
        // Nothing here is this gateway's.
    }
}
