using System.Security.Cryptography;

namespace TpServe.Gateway.Workers;

/// <summary>Workers that this gateway starts on its host, with a secret of their own.</summary>
internal sealed class LocalWorkers(string logLevel) : IWorkerSource
{
    private readonly string _secret = Convert.ToHexString(RandomNumberGenerator.GetBytes(32));
    private readonly Lazy<WorkerFolder> _folder = new(() => WorkerFolder.Create(WorkerFolder.Roots), LazyThreadSafetyMode.ExecutionAndPublication);

    /// <inheritdoc/>
    public TimeSpan Patience => TimeSpan.FromSeconds(15);

    /// <inheritdoc/>
    public HeldWorker Open(int seat)
    {
        string socket = _folder.Value.NewSocket();
        WorkerProcess process = WorkerProcess.Start(socket, _secret, logLevel);
        return new HeldWorker(seat, new WorkerClient("unix:" + socket, _secret), process);
    }

    public void Dispose()
    {
        if (_folder.IsValueCreated)
            _folder.Value.Dispose();
    }
}

/// <summary>Workers that run elsewhere and outlive gateways.</summary>
/// <param name="addresses">By seat.</param>
/// <param name="secretFile">File that holds the secret they share with the gateway.</param>
/// <param name="patience">How long they may take to answer.</param>
internal sealed class ExternalWorkers(IReadOnlyList<string> addresses, string secretFile, TimeSpan patience) : IWorkerSource
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
        return new HeldWorker(seat, new WorkerClient(addresses[seat], secret), process: null);
    }

    public void Dispose()
    {
        // Nothing here is this gateway's.
    }
}
