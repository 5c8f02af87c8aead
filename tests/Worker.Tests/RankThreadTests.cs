using NUnit.Framework;

namespace TpServe.Worker.Tests;

public sealed class RankThreadTests
{
    [Test]
    public async Task RunAsync_ManyCallers_RunInOrderOnOneThread()
    {
        using RankThread thread = new();
        List<int> order = [];
        HashSet<int> threads = [];
        Task<int>[] work = [.. Enumerable.Range(0, 100).Select(i => thread.RunAsync(() =>
        {
            order.Add(i);
            threads.Add(Environment.CurrentManagedThreadId);
            return i;
        }))];
        await Task.WhenAll(work).WaitAsync(TimeSpan.FromSeconds(10));
        Assert.That(order, Is.Ordered);
        Assert.That(threads, Has.Count.EqualTo(1));
    }

    [Test]
    public async Task RunAsync_WorkThatThrows_ThrowsAtTheCallerAndTheThreadGoesOn()
    {
        using RankThread thread = new();
        await Assert.ThrowsAsync<InvalidDataException>(() => thread.RunAsync<int>(() => throw new InvalidDataException()));
        Assert.That(await thread.RunAsync(() => 5).WaitAsync(TimeSpan.FromSeconds(10)), Is.EqualTo(5));
    }
}
