namespace TpServe.Worker;

/// <summary>Ties a worker's life to the gateway that started it.</summary>
internal static class Supervision
{
    /// <summary>Reads the group's secret: the first line of standard input of a supervised worker, else the secret file.</summary>
    /// <exception cref="InvalidOperationException">Standard input ended before the secret.</exception>
    public static GroupSecret ReadSecret(WorkerOptions options)
    {
        string? secret = options.Supervised ? Console.In.ReadLine() : File.ReadAllText(options.SecretFile).Trim();
        if (string.IsNullOrEmpty(secret))
            throw new InvalidOperationException(options.Supervised ? "standard input ended before the group's secret." : $"the secret file '{options.SecretFile}' is empty.");
        return new GroupSecret(secret);
    }

    /// <summary>Ends the process when standard input ends: the gateway closed it, or died.</summary>
    /// <remarks>A thread of its own, so that neither a busy pool nor a rank that is stuck in a collective can hold it up.</remarks>
    public static void EndWithInput(IHostApplicationLifetime lifetime, TimeSpan grace)
    {
        Thread watcher = new(() =>
        {
            while (Console.In.ReadLine() is not null)
            {
                // Nothing but the end is expected here.
            }
            lifetime.StopApplication();
            lifetime.ApplicationStopped.WaitHandle.WaitOne(grace);
            Environment.Exit(0);
        })
        { IsBackground = true, Name = "supervision" };
        watcher.Start();
    }
}
