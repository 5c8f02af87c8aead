using CsCheck;
using NUnit.Framework;
using TpServe.Checkpoint.Config;
using TpServe.Sharding.Planning;

namespace TpServe.Sharding.Tests.Planning;

/// <summary>Random small models on up to three random devices, with ample and with scarce memory, against every partition on every group of devices.</summary>
public sealed class PlannerPropertyTests
{
    private sealed record World(ModelCosts Model, DeviceProfile[] Devices, LinkTable Links, Workload Workload)
    {
        public override string ToString() =>
            $"{Model.Config.Heads} heads, {Model.Config.KvHeads} kv, mlp {Model.Config.Intermediate}, vocabulary {Model.Config.Vocab}; "
            + string.Join("; ", Devices.Select(device => FormattableString.Invariant($"{device.ReadBytesPerSecond:G3} B/s, {device.MemoryBytes} B, {device.OperationSeconds:G2} s")))
            + $"; {Workload}";
    }

    private static readonly Gen<double> s_speed = Gen.OneOf(Gen.Const(1e9), Gen.Const(2e9), Gen.Double[8, 10.5].Select(exponent => Math.Pow(10, exponent)));

    private static readonly Gen<LinkProfile> s_link =
        from transport in Gen.Enum<LinkTransport>()
        from latency in Gen.OneOf(Gen.Const(0.0), Gen.Double[-8, -4.5].Select(exponent => Math.Pow(10, exponent)))
        from speed in Gen.Double[7, 12]
        select PlannerCases.Link(latency, Math.Pow(10, speed), transport);

    private static readonly Gen<World> s_world =
        from kvHeads in Gen.Int[1, 3]
        from groupSize in Gen.Int[1, kvHeads == 1 ? 5 : kvHeads == 2 ? 2 : 1]
        from intermediate in Gen.Int[1, 190]
        from vocab in Gen.Int[1, 3]
        from layers in Gen.Int[1, 3]
        from devices in Gen.Int[1, 3]
        from speeds in s_speed.Array[devices]
        from overhead in Gen.OneOf(Gen.Const(0.0), Gen.Const(2e-7))
        from links in s_link.Array[3]
        from prompt in Gen.Int[1, 40]
        from output in Gen.Int[1, 30]
        from batch in Gen.Int[1, 5]
        from chunk in Gen.Int[4, 40]
        from objective in Gen.Enum<PlanObjective>()
        from isScarce in Gen.Bool
        from shares in Gen.Double[0.25, 1.1].Array[devices]
        select Make(
            PlannerCases.Costs(PlannerCases.Config(kvHeads * groupSize, kvHeads, intermediate, vocab, layers: layers)), speeds, overhead, links,
            new Workload(objective, prompt, output, batch, prompt + output, chunk), isScarce ? shares : null);

    private static World Make(ModelCosts model, double[] speeds, double overhead, LinkProfile[] links, Workload workload, double[]? memoryShares)
    {
        DeviceProfile[] devices = [.. speeds.Select((speed, index) => PlannerCases.Device(speed, name: $"device {index}", operationSeconds: overhead))];
        LinkTable table = LinkTable.Of(devices.Length, (first, second) => links[first + second - 1]);
        if (memoryShares is not null)
        {
            // A share of what the whole model takes on one device: below 1 it needs others, near 1 / devices it hardly fits.
            long whole = Planner.Predict(model, devices, table, workload, [0], Partition.Even(model.Config, 1)).Memory[0].TotalBytes;
            for (int device = 0; device < devices.Length; device++)
                devices[device] = devices[device] with { MemoryBytes = (long)(whole * memoryShares[device]) };
        }
        return new World(model, devices, table, workload);
    }

    [Test]
    public void Plan_SmallModels_CostsWhatTheBestOfAllPartitionsCosts() => s_world.Sample(
        world =>
        {
            (RankedPlan? best, double least) = BruteForce(world);
            if (best is null)
            {
                Assert.Throws<ShardingException>(() => Plan(world));
                return;
            }
            PlanResult result = Plan(world);
            Assert.That(result.Best.Prediction.CostSeconds, Is.EqualTo(least).Within(1e-12 * least), $"{Text(result.Best)} where {Text(best)} is the best");
            Assert.That(result.IsProven, Is.True);
            Assert.That(result.LowerBoundSeconds, Is.LessThanOrEqualTo(least * (1 + 1e-12)));
            foreach (RankedPlan plan in result.Alternatives.Prepend(result.Best))
                for (int rank = 0; rank < plan.Degree; rank++)
                    Assert.That(plan.Prediction.Memory[rank].TotalBytes, Is.LessThanOrEqualTo(world.Devices[plan.Devices[rank]].MemoryBytes));
            Assert.That(result.Alternatives.Select(plan => plan.Prediction.CostSeconds), Is.Ordered);
            Assert.That(result.Alternatives.Prepend(result.Best).Select(Text), Is.Unique);
        },
        iter: 150, seed: "0000KX7DYqG1");

    [Test]
    public void Plan_MoreMemory_IsNeverWorse() => s_world.Sample(
        world =>
        {
            if (BruteForce(world).Best is null)
                return;
            World roomier = world with { Devices = [.. world.Devices.Select((device, index) => device with { MemoryBytes = device.MemoryBytes * (index + 9) / 8 })] };
            double scarce = Plan(world).Best.Prediction.CostSeconds;
            Assert.That(Plan(roomier).Best.Prediction.CostSeconds, Is.LessThanOrEqualTo(scarce * (1 + 1e-12)));
        },
        iter: 60, seed: "0000KX7DYqG2");

    private static PlanResult Plan(World world) => Planner.Plan(world.Model, world.Devices, world.Links, world.Workload, new PlanLimits { EvenWithin = 0 });

    private static string Text(RankedPlan plan) =>
        $"[{string.Join(",", plan.Devices)}] {string.Join(",", plan.Partition.HeadBoundaries)} / {string.Join(",", plan.Partition.LeafBoundaries)} / {string.Join(",", plan.Partition.VocabBoundaries)}";

    private static (RankedPlan? Best, double Least) BruteForce(World world)
    {
        ModelConfig config = world.Model.Config;
        RankedPlan? best = null;
        double least = double.PositiveInfinity;
        for (int set = 1; set < 1 << world.Devices.Length; set++)
        {
            int[] group = [.. Enumerable.Range(0, world.Devices.Length).Where(device => (set & (1 << device)) != 0)];
            foreach (int[] heads in Splits(config.Heads, group.Length))
                foreach (int[] leaves in Splits(Leaves.OfMlp(config).Count, group.Length))
                    foreach (int[] rows in Splits(config.Vocab, group.Length))
                    {
                        Partition partition = new(heads, leaves, rows);
                        Prediction prediction = Planner.Predict(world.Model, world.Devices, world.Links, world.Workload, group, partition);
                        if (prediction.CostSeconds < least && prediction.Memory.All(memory => memory.TotalBytes <= memory.UsableBytes))
                            (best, least) = (new RankedPlan(group, partition, prediction), prediction.CostSeconds);
                    }
        }
        return (best, least);
    }

    private static IEnumerable<int[]> Splits(int units, int ranks)
    {
        int[] boundaries = new int[ranks + 1];
        boundaries[ranks] = units;
        return From(1);

        IEnumerable<int[]> From(int rank)
        {
            if (rank == ranks)
            {
                yield return [.. boundaries];
                yield break;
            }
            for (int boundary = boundaries[rank - 1]; boundary <= units; boundary++)
            {
                boundaries[rank] = boundary;
                foreach (int[] split in From(rank + 1))
                    yield return split;
            }
        }
    }
}
