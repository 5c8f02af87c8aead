namespace TpServe.Collectives.Tests;

/// <summary>After all tests of the assembly: no segment of this process may be left.</summary>
[SetUpFixture]
public sealed class NoLeftoverSegments
{
    [OneTimeTearDown]
    public void CheckSegments()
    {
        RingHosts.StopShared();
        Assert.That(Directory.GetFiles("/dev/shm", $"tpserve-test-{Environment.ProcessId}-*"), Is.Empty, "segments leaked");
    }
}
