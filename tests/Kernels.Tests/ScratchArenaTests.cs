using NUnit.Framework;

namespace TpServe.Kernels.Tests;

/// <summary>The stack of scratch tensors.</summary>
public sealed class ScratchArenaTests
{
    [Test]
    public void Rent_SameOrderAgain_GivesTheSameAddresses()
    {
        using ScratchArena arena = new(bytes => new HostBuffer(bytes));
        Tensor[] first = Fill(arena);
        arena.Release(0);
        Tensor[] second = Fill(arena);
        Assert.That(second.Select(tensor => (tensor.Buffer, tensor.OffsetBytes)), Is.EqualTo(first.Select(tensor => (tensor.Buffer, tensor.OffsetBytes))));
    }

    [Test]
    public void Restore_AMarkAbove_RentsBehindIt()
    {
        using ScratchArena arena = new(bytes => new HostBuffer(bytes));
        Fill(arena);
        long top = arena.Mark();
        Tensor behind = arena.Rent(1, 1, ElementType.Float32);
        arena.Release(0);
        arena.Restore(top);
        Assert.That(arena.Mark(), Is.EqualTo(top));
        Tensor again = arena.Rent(1, 1, ElementType.Float32);
        Assert.That((again.Buffer, again.OffsetBytes), Is.EqualTo((behind.Buffer, behind.OffsetBytes)));
    }

    [Test]
    public void Restore_NotAMarkAboveTheTop_IsRefused()
    {
        using ScratchArena arena = new(bytes => new HostBuffer(bytes));
        arena.Rent(1, 64, ElementType.Float32);
        Assert.That(() => arena.Restore(0), Throws.InstanceOf<ArgumentOutOfRangeException>(), "below the top");
        Assert.That(() => arena.Restore(1L << 40), Throws.InstanceOf<ArgumentOutOfRangeException>(), "a chunk that is not there");
        Assert.That(() => arena.Restore(1L << 39), Throws.InstanceOf<ArgumentOutOfRangeException>(), "beyond the chunk");
    }

    /// <summary>Tensors over several chunks.</summary>
    private static Tensor[] Fill(ScratchArena arena) => [.. Enumerable.Range(1, 5).Select(i => arena.Rent(i, 400_000, ElementType.Float32))];
}
