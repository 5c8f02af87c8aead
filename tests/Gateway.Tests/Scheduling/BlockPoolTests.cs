using CsCheck;
using NUnit.Framework;
using TpServe.Gateway.Scheduling;

namespace TpServe.Gateway.Tests.Scheduling;

public sealed class BlockPoolTests
{
    private static readonly PrefixRealm s_realm = PrefixRealm.Shared;

    private static BlockId[] Take(BlockPool pool, int count)
    {
        BlockId[] blocks = new BlockId[count];
        for (int i = 0; i < count; i++)
            Assert.That(pool.TryTake(out blocks[i]), Is.True);
        return blocks;
    }

    [Test]
    public void TryTake_ToTheLastBlock_GivesEachBlockOnceThenNone()
    {
        BlockPool pool = new(5);
        Assert.That(Take(pool, 5), Is.EquivalentTo(Enumerable.Range(0, 5).Select(value => new BlockId(value))));
        Assert.That((pool.TryTake(out _), pool.FreeBlocks), Is.EqualTo((false, 0)));
    }

    [Test]
    public void Release_Twice_Throws()
    {
        BlockPool pool = new(2);
        BlockId[] blocks = Take(pool, 1);
        pool.Release(blocks);
        Assert.That(() => pool.Release(blocks), Throws.InvalidOperationException.With.Message.Contains("twice"));
    }

    [Test]
    public void Share_HeldByTwo_IsFreeAfterBothReleased()
    {
        BlockPool pool = new(1);
        BlockId[] blocks = Take(pool, 1);
        pool.Share(blocks[0]);
        pool.Release(blocks);
        Assert.That(pool.FreeBlocks, Is.Zero);
        pool.Release(blocks);
        Assert.That(pool.FreeBlocks, Is.EqualTo(1));
        Assert.That(() => pool.Share(blocks[0]), Throws.InvalidOperationException, "free, and nobody knows what it holds");
    }

    [Test]
    public void TryFind_PublishedAndReleased_IsFoundUntilItsBlockIsTaken()
    {
        BlockPool pool = new(2);
        BlockId[] blocks = Take(pool, 2);
        PrefixNode first = pool.Publish(blocks[0], s_realm, null, [1, 2]);
        pool.Publish(blocks[1], s_realm, first, [3, 4]);
        pool.Release(blocks);
        Assert.That((pool.FreeBlocks, pool.CachedBlocks), Is.EqualTo((2, 2)));
        Assert.That(pool.TryFind(s_realm, null, [1, 2], out PrefixNode? found) && found.Block == blocks[0], Is.True);
        Assert.That(pool.TryFind(s_realm, found, [3, 4], out _), Is.True);
        Assert.That(pool.TryFind(s_realm, null, [3, 4], out _), Is.False, "the same tokens after another beginning");

        Take(pool, 1);
        Assert.That(pool.TryFind(s_realm, found, [3, 4], out _), Is.False, "the end of a prefix goes first");
        Assert.That(pool.TryFind(s_realm, null, [1, 2], out _), Is.True);
    }

    [Test]
    public void TryTake_SeveralCached_TakesTheOneReleasedLongestAgoAndBlankOnesBefore()
    {
        BlockPool pool = new(4);
        BlockId[] blocks = Take(pool, 3);
        for (int i = 0; i < 3; i++)
            pool.Publish(blocks[i], s_realm, null, [i]);
        pool.Release([blocks[1]]);
        pool.Release([blocks[2]]);
        pool.Release([blocks[0]]);
        pool.Share(blocks[1]); // used again, and released later
        pool.Release([blocks[1]]);
        Assert.That(Take(pool, 4), Is.EqualTo(new[] { new BlockId(3), blocks[2], blocks[0], blocks[1] }));
    }

    [TestCase("other", 0, false)]
    [TestCase("", 3, false)]
    [TestCase("", 0, true)]
    public void TryFind_OtherRealm_FindsNothing(string salt, int lora, bool longRope)
    {
        BlockPool pool = new(1);
        pool.Publish(Take(pool, 1)[0], s_realm, null, [1, 2]);
        Assert.That(pool.TryFind(new PrefixRealm(salt, lora, longRope), null, [1, 2], out _), Is.False);
        Assert.That(pool.TryFind(new PrefixRealm("", 0, false), null, [1, 2], out _), Is.True, "equal realms are one");
    }

    [Test]
    public void Publish_ContentThatAnotherBlockHolds_KeepsTheFirst()
    {
        BlockPool pool = new(2);
        BlockId[] blocks = Take(pool, 2);
        PrefixNode first = pool.Publish(blocks[0], s_realm, null, [1]);
        Assert.That(pool.Publish(blocks[1], s_realm, null, [1]), Is.SameAs(first));
        pool.Release([blocks[1]]);
        Assert.That(pool.CachedBlocks, Is.Zero, "the second is blank");
    }

    [Test]
    public void Flush_KnownBlocks_AreForgottenAndTheHeldStayHeld()
    {
        BlockPool pool = new(3);
        BlockId[] blocks = Take(pool, 2);
        pool.Publish(blocks[0], s_realm, null, [1]);
        pool.Publish(blocks[1], s_realm, null, [2]);
        pool.Release([blocks[0]]);
        Assert.That(pool.Flush(), Is.EqualTo(2));
        Assert.That((pool.FreeBlocks, pool.CachedBlocks), Is.EqualTo((2, 0)));
        Assert.That(pool.TryFind(s_realm, null, [2], out _), Is.False);
        pool.Release([blocks[1]]);
        Assert.That(pool.Imbalance(), Is.Null);
    }

    [Test]
    public void Imbalance_BlockHeldByNobodyKnown_NamesIt()
    {
        BlockPool pool = new(3);
        Take(pool, 2);
        Assert.That(pool.Imbalance(), Does.Contain("2 of 3").And.Contain("block 0"));
    }

    /// <summary>Against a naive model: lists of holders and of contents, searched from end to end.</summary>
    [Test]
    public void Pool_AnyHistory_DoesAsTheNaiveOne() =>
        Gen.Select(Gen.Int[0, 5], Gen.Int[0, 7], Gen.Int[0, 2]).Array[1, 200].Sample(
            moves =>
            {
                const int Blocks = 6;
                BlockPool pool = new(Blocks);
                List<BlockId> held = []; // one entry a holder
                List<(int Token, BlockId Block)> known = []; // contents, in no order
                List<BlockId> order = []; // free ones with content, longest released first
                foreach ((int act, int pick, int token) in moves)
                    switch (act)
                    {
                        case 0 or 1:
                            if (!pool.TryTake(out BlockId taken))
                            {
                                Assert.That(held.Distinct().Count(), Is.EqualTo(Blocks));
                                break;
                            }
                            Assert.That(held, Has.No.Member(taken));
                            if (order.Contains(taken))
                            {
                                Assert.That(held.Distinct().Count() + order.Count, Is.EqualTo(Blocks), "a blank one was free");
                                Assert.That(taken, Is.EqualTo(order[0]));
                                order.RemoveAt(0);
                            }
                            known.RemoveAll(entry => entry.Block == taken);
                            held.Add(taken);
                            break;
                        case 2 or 3 when held.Count > 0:
                            BlockId released = held[pick % held.Count];
                            held.Remove(released);
                            pool.Release([released]);
                            if (!held.Contains(released) && known.Exists(entry => entry.Block == released))
                                order.Add(released);
                            break;
                        case 4 when held.Count > 0 && !known.Exists(entry => entry.Token == token):
                            BlockId published = held[pick % held.Count];
                            if (known.Exists(entry => entry.Block == published))
                                break; // a block is published once
                            pool.Publish(published, s_realm, null, [token]);
                            known.Add((token, published));
                            break;
                        case 5 when pool.TryFind(s_realm, null, [token], out PrefixNode? found):
                            Assert.That(known, Has.Member((token, found.Block)));
                            pool.Share(found.Block);
                            held.Add(found.Block);
                            order.Remove(found.Block);
                            break;
                        case 5:
                            Assert.That(known.Exists(entry => entry.Token == token), Is.False);
                            break;
                    }
                Assert.That((pool.FreeBlocks, pool.CachedBlocks), Is.EqualTo((Blocks - held.Distinct().Count(), order.Count)));
            },
            iter: 3000);
}
