using NUnit.Framework;
using TpServe.Kernels.Cpu;
using TpServe.Kernels.Reference;
using TpServe.Testing;

namespace TpServe.Kernels.Tests;

/// <summary>Routers: the CPU's against the reference's, and both against values worked out by hand or as DeepSeek V3's definition has them.</summary>
public sealed class RouteTests : OpsFixture
{
    private static readonly RouterShape Plain = new(Experts: 8, PerRow: 2, IsSigmoid: false, Renormalises: true, Scale: 1f, Groups: 1, TopGroups: 1, SharedExpert.None);

    private static IEnumerable<RouterShape> Shapes() =>
    [
        Plain,
        Plain with { Experts = 128, PerRow = 8 },
        Plain with { Experts = 60, PerRow = 4, Renormalises = false, Shared = SharedExpert.Gated },
        Plain with { Experts = 256, PerRow = 8, IsSigmoid = true, Scale = 2.5f, Groups = 8, TopGroups = 4, Shared = SharedExpert.Whole },
        Plain with { Experts = 12, PerRow = 5, Groups = 4, TopGroups = 2 },
        Plain with { Experts = 3, PerRow = 3 },
    ];

    [TestCaseSource(nameof(Shapes))]
    public void Route_AnyShape_MatchesTheReferenceOnAnyThreads(RouterShape shape)
    {
        foreach (bool corrects in new[] { false, true })
        {
            Tensor logits = Tensors.Of(Numbers.Uniform(301 * shape.Logits, seed: 1), 301, shape.Logits, gap: 3);
            Tensor? correction = corrects ? Tensors.Of(Numbers.Uniform(shape.Experts, seed: 2), 1, shape.Experts) : null;
            (int[] expectedIds, float[] expected) = Run((ids, weights) => Oracle.Route(logits, correction, shape, ids, weights));
            foreach (CpuThreads threads in Pools)
            {
                (int[] ids, float[] weights) = Run((i, w) => Kernels.Cpu.Ops.Routing.Run(threads, logits, correction, shape, i, w));
                Assert.That(ids, Is.EqualTo(expectedIds));
                Assert.That(Numbers.Nmse(weights, expected), Is.LessThan(1e-12), "one exponential and one division in float32");
            }
        }

        (int[], float[]) Run(Action<Tensor, Tensor> route)
        {
            Tensor ids = Tensors.Empty(301, shape.Chosen, ElementType.Int32), weights = Tensors.Empty(301, shape.Chosen);
            route(ids, weights);
            return (HostTensors.Integers(ids), HostTensors.Values(weights));
        }
    }

    [Test]
    public void Route_Ties_GoToTheLowerId() => Assert.That(Chosen([1, 3, 3, 0, 3, 0, 0, 0], Plain).Ids, Is.EqualTo(new[] { 1, 2 }));

    [Test]
    public void Route_NaN_CountsAsTheLeastAndShowsInTheWeights()
    {
        (int[] ids, float[] weights) = Chosen([float.NaN, 3, float.NaN, 0, 1, 0, 0, 0], Plain with { Renormalises = false });
        Assert.That(ids, Is.EqualTo(new[] { 1, 4 }));
        Assert.That(weights, Is.All.NaN);
        Assert.That(Chosen([.. Enumerable.Repeat(float.NaN, 8)], Plain).Ids, Is.EqualTo(new[] { 0, 1 }));
    }

    [Test]
    public void Route_Infinities_StillChoose()
    {
        Assert.That(Chosen([.. Enumerable.Repeat(float.NegativeInfinity, 8)], Plain).Ids, Is.EqualTo(new[] { 0, 1 }));
        RouterShape grouped = Plain with { Groups = 4, TopGroups = 2 };
        Assert.That(Chosen([0, 0, float.PositiveInfinity, float.NegativeInfinity, 0, 0, 0, 0], grouped).Ids, Is.EqualTo(new[] { 0, 2 }));
    }

    /// <summary>DeepSeek V3, with numbers: groups by the sum of their two best, the correction only in the choice.</summary>
    [Test]
    public void Route_SigmoidInGroupsWithCorrection_IsDeepSeekV3s()
    {
        RouterShape shape = Plain with { IsSigmoid = true, Scale = 2.5f, Groups = 4, TopGroups = 2, Shared = SharedExpert.Whole };
        float[] logits = [2, -1, 0.5f, 0.4f, -2, 3, 0.1f, 0.2f], correction = [0, 0, 0.9f, 0, 0, -2, 0, 0.3f];
        float[] scores = [.. logits.Select(logit => 1f / (1f + MathF.Exp(-logit)))], choice = [.. scores.Zip(correction, (a, b) => a + b)];
        // Groups of two: 1.150, 2.121, negative, 1.375. So groups 1 and 3 stay, and of these experts 2 (1.522) and 7 (0.850).
        Assert.That(choice[0] + choice[1], Is.LessThan(choice[6] + choice[7]));
        (int[] ids, float[] weights) = Chosen(logits, shape, correction);
        float sum = scores[2] + scores[7];
        Assert.That(ids, Is.EqualTo(new[] { 2, 7, 8 }));
        Assert.That(weights[0], Is.EqualTo(2.5f * scores[2] / sum).Within(1e-6));
        Assert.That(weights[1], Is.EqualTo(2.5f * scores[7] / sum).Within(1e-6));
        Assert.That(weights[2], Is.EqualTo(1f));
    }

    [Test]
    public void Route_WrongOperands_AreRefused()
    {
        Tensor logits = Tensors.Empty(2, 8), ids = Tensors.Empty(2, 2, ElementType.Int32), weights = Tensors.Empty(2, 2);
        foreach (RouterShape wrong in new[] { Plain with { PerRow = 9 }, Plain with { Groups = 3 }, Plain with { Groups = 8, TopGroups = 1 }, Plain with { Experts = 9 } })
            Assert.Throws<ArgumentException>(() => Kernels.Cpu.Ops.Routing.Run(Single, logits, null, wrong, ids, weights));
    }

    private (int[] Ids, float[] Weights) Chosen(float[] logits, RouterShape shape, float[]? correction = null)
    {
        Tensor x = Tensors.Of(logits, 1, logits.Length), ids = Tensors.Empty(1, shape.Chosen, ElementType.Int32), weights = Tensors.Empty(1, shape.Chosen);
        Tensor? added = correction is null ? null : Tensors.Of(correction, 1, correction.Length);
        using ReferenceBackend reference = new();
        reference.Route(x, added, shape, ids, weights);
        int[] expected = HostTensors.Integers(ids);
        Kernels.Cpu.Ops.Routing.Run(Single, x, added, shape, ids, weights);
        Assert.That(HostTensors.Integers(ids), Is.EqualTo(expected));
        return (expected, HostTensors.Values(weights));
    }
}
