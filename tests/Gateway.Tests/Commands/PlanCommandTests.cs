using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Gateway.Commands;
using TpServe.Gateway.Commands.Planning;
using TpServe.Gateway.Devices;
using TpServe.Gateway.Workers;
using TpServe.Testing;

namespace TpServe.Gateway.Tests.Commands;

public sealed class PlanCommandTests
{
    [Test]
    public void Print_ManyRanks_KeepsEveryNumberWholeAndARankOnALine()
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.SmolLm2);
        GatewayOptions options = new() { Tp = 12 };
        GroupPlan group = GroupPlan.Create(checkpoint.Config, options, DevicePlan.Cpu(12, "plan"), long.MaxValue / 8, cores: 64, _ => 1);
        StringWriter output = new();
        PlanCommand.Print(checkpoint, draft: null, group, options, output);
        string[] rows = [.. output.ToString().Split('\n').SkipWhile(line => !line.TrimStart().StartsWith("rank ", StringComparison.Ordinal)).Skip(1).TakeWhile(line => line.Length > 0)];
        Assert.That(rows, Has.Length.EqualTo(12));
        Assert.That(rows.Select(row => row.Length), Is.All.EqualTo(rows[0].Length));
        for (int rank = 0; rank < 12; rank++)
        {
            string[] cells = rows[rank].Split(' ', StringSplitOptions.RemoveEmptyEntries);
            Assert.That(cells[0], Is.EqualTo($"{rank}"));
            Assert.That(cells[4], Is.EqualTo($"{4096 * rank}..{4096 * rank + 4095}"));
        }
    }

    [Test]
    public void Products_OfTheEmbeddedModel_AreItsLayersShapesAndTheHeadsFormat()
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.SmolLm2);
        Assert.That(GroupMeasurer.Products(checkpoint).Select(shape => ((TensorType)shape.Format, shape.Outputs, shape.Inputs)), Is.EquivalentTo(new[]
        {
            (TensorType.Q4_1, 576, 576), (TensorType.Q4_1, 192, 576), (TensorType.Q4_1, 1536, 576), (TensorType.Q4_1, 576, 1536), (TensorType.Q8_0, 49152, 576),
        }));
    }

    [Test]
    public void Print_WithADraft_ShowsWhatBothTake()
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.SmolLm2);
        using DraftSource draft = DraftSource.Open(TestData.SmolLm2, checkpoint)!;
        GroupPlan group = GroupPlan.Create(checkpoint.Config, new GatewayOptions(), DevicePlan.Cpu(2, "plan"), long.MaxValue / 8, cores: 2, _ => 1, draft: draft.Facts);
        StringWriter output = new();
        PlanCommand.Print(checkpoint, draft.Checkpoint, group, new GatewayOptions(), output);
        string[] parts = output.ToString().Split("draft model, on the same workers and in blocks of the same cache:");
        Assert.That(parts, Has.Length.EqualTo(2));
        Assert.That(parts[1].Trim(), Is.EqualTo(parts[0].Trim()), "the same model twice");
    }
}
