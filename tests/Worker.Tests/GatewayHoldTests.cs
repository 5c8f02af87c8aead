using NUnit.Framework;

namespace TpServe.Worker.Tests;

/// <summary>Who a worker serves: one gateway at a time, from its first call to its last.</summary>
public sealed class GatewayHoldTests
{
    private readonly GatewayHold _hold = new(TimeProvider.System);

    [Test]
    public void TryTake_WhileAnotherHoldsIt_SaysWhoAndAfterwardsSucceeds()
    {
        TaskCompletionSource first = new(), second = new();
        Assert.That(_hold.TryTake("a", "host-a, process 5,", first), Is.Null);
        Assert.That(_hold.TryTake("b", "host-b", second), Does.StartWith("gateway host-a, process 5, has it since ").And.EndsWith(" UTC"));
        Assert.That((first.Task.IsCompleted, _hold.Release(second)), Is.EqualTo((false, false)), "who was refused changes nothing");
        Assert.That(_hold.Release(first), Is.True);
        Assert.That(_hold.TryTake("b", "host-b", second), Is.Null);
    }

    [Test]
    public void TryTake_SameGatewayAgain_HoldsItByTheNewCall()
    {
        TaskCompletionSource first = new(), second = new();
        _hold.TryTake("a", "host-a", first);
        Assert.That(_hold.TryTake("a", "host-a", second), Is.Null);
        Assert.That(first.Task.IsCompleted, Is.True, "whose link may have broken unseen");
        Assert.That(_hold.Release(first), Is.False);
        Assert.That(_hold.TryTake("b", "host-b", new()), Is.Not.Null);
        Assert.That(_hold.Release(second), Is.True);
    }
}
