using NUnit.Framework;
using TpServe.Gateway.Scheduling;

namespace TpServe.Gateway.Tests.Scheduling;

public sealed class BlockAllocatorTests
{
    [Test]
    public void TryAllocate_ToTheLastBlock_GivesEachBlockOnce()
    {
        BlockAllocator allocator = new(5);
        Assert.That(allocator.TryAllocate(3, out BlockId[] first), Is.True);
        Assert.That(allocator.TryAllocate(2, out BlockId[] second), Is.True);
        Assert.That(first.Concat(second), Is.EquivalentTo(Enumerable.Range(0, 5).Select(value => new BlockId(value))));
        Assert.That(allocator.FreeBlocks, Is.Zero);
    }

    [Test]
    public void TryAllocate_MoreThanFree_TakesNothing()
    {
        BlockAllocator allocator = new(2);
        Assert.That(allocator.TryAllocate(3, out BlockId[] blocks), Is.False);
        Assert.That(blocks, Is.Empty);
        Assert.That(allocator.FreeBlocks, Is.EqualTo(2));
    }

    [Test]
    public void Free_Twice_Throws()
    {
        BlockAllocator allocator = new(2);
        allocator.TryAllocate(1, out BlockId[] blocks);
        allocator.Free(blocks);
        Assert.That(() => allocator.Free(blocks), Throws.InvalidOperationException.With.Message.Contains("twice"));
    }
}
