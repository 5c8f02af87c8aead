using System.Diagnostics;
using NUnit.Framework;

namespace TpServe.Chaos;

/// <summary>Nothing hangs, nothing is wrong, nothing is lost, nothing is left: 30 faults under load. `make chaos` has more.</summary>
[Category("MultiProcess"), NonParallelizable]
public sealed class ChaosTests
{
    [Test, CancelAfter(600_000)]
    public async Task Server_30FaultsUnderLoad_EveryRequestEndsRightAndNothingIsLeft(CancellationToken cancellation)
    {
        using Process chaos = Process.Start(new ProcessStartInfo("dotnet", [typeof(ChaosTests).Assembly.Location, "--faults", "30", "--seed", "8"])
        { RedirectStandardOutput = true, RedirectStandardError = true })!;
        try
        {
            Task<string> output = chaos.StandardOutput.ReadToEndAsync(cancellation), errors = chaos.StandardError.ReadToEndAsync(cancellation);
            await chaos.WaitForExitAsync(cancellation);
            TestContext.Out.WriteLine(await output);
            Assert.That(chaos.ExitCode, Is.Zero, await errors + await output);
        }
        finally
        {
            if (!chaos.HasExited)
                chaos.Kill(entireProcessTree: true);
        }
    }
}
