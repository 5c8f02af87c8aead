// Faults at random moments under a load whose right answers are known. Read on: ChaosRun, then Faults/ and Load/.
using TpServe.Chaos;

ChaosOptions options;
try
{
    options = ChaosOptions.Parse(args);
}
catch (FormatException fault)
{
    await Console.Error.WriteLineAsync($"chaos: {fault.Message}{Environment.NewLine}{ChaosOptions.Usage}");
    return 2;
}

// 1. A network and a /dev/shm of our own, where the system lets us have them: the program starts again inside.
string? refusal = options.Inside ? null : Sandbox.Refusal();
if (!options.Inside && refusal is null)
    return await Sandbox.RunInsideAsync(args);
if (options.Inside)
    await Sandbox.FurnishAsync();
else
    Console.WriteLine($"sandbox   none ({refusal}): no fault fills /dev/shm or takes a host off the network");

// 2. The run.
return await new ChaosRun(options, Console.Out).RunAsync() ? 0 : 1;
