using ILGPU;
using ILGPU.Runtime;
using NUnit.Framework;
using TpServe.Kernels.Cuda.Attention;
using TpServe.Kernels.Cuda.Device;
using TpServe.Kernels.Cuda.Intrinsics;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>The tensor-core kernel on ILGPU's CPU accelerator, with a matrix product made of shuffles: C# and PTX say the same.</summary>
public sealed class AttentionEmulatedTests() : CudaFixture("emulated")
{
    [Test]
    public void Attention_HeadsOf32_MatchesTheOracle()
    {
        AttentionSettings settings = new(32, 1, 2) { Type = ElementType.Float16 };
        AttentionOnDevice scene = new(Backend, Oracle, Device, Host, settings, 36);
        (int, int)[] rows = [(0, 3), (0, 35)];
        float[] y = scene.RunBy(Attend, rows);
        Assert.That(Numbers.Nmse(y, scene.Oracle(rows, ElementType.Float16)), Is.LessThan(5e-7));
    }

    private void Attend(Tensor q, KvLayer cache, StepTensors step, AttentionShape shape, Tensor y)
    {
        KvView view = new(cache);
        using HeadMaps maps = new(Backend.Queue);
        HeadMap map = maps.OnDevice(shape.KvHeadOfHead, view.Heads);
        AttentionNumbers numbers = AttentionKernels.Numbers(
            q.Rows, q.RowStride, y.RowStride, step.BlockTables.Rows, step.BlockTables.Columns, step.BlockTables.RowStride, view.BlockTokens, shape, shape.HeadDim);
        numbers.ChunksOfGroup = numbers.Chunks;
        TensorCut cut = new() { Rows = 4, Tiles = 1, Pieces = map.PieceCount };
        var attend = Backend.Queue.Load<ArrayView<float>, KvView, ArrayView<int>, ArrayView<int>, ArrayView<int>, ArrayView<int>, ArrayView<float>, ArrayView<float>, AttentionNumbers, TensorCut>(
            TensorAttention.AttendKernel<ShuffledElement>);
        attend(
            TensorAttention.Config(numbers, cut), q.View<float>(), view, map.Pieces.View.Cast<int>(), step.Positions.View<int>(), step.SequenceOfRow.View<int>(),
            step.BlockTables.View<int>(), y.View<float>(), default, numbers, cut);
        Backend.Queue.Synchronize();
    }

    /// <summary>binary16 whose product fetches each lane's two rows of A and two columns of B from the lanes that hold them.</summary>
    private readonly struct ShuffledElement : ITensorElement
    {
        public uint Pack(float low, float high) => HalfFloats.ToHalves(low, high);

        public Float4 Multiply(UInt4 a, UInt2 b, Float4 c)
        {
            int row = Group.IdxX % 32 / 4 * 4, column = Group.IdxX % 4 * 8;
            for (int t = 0; t < 4; t++)
            {
                for (int half = 0; half < 2; half++)
                {
                    uint top = Fetch(half == 0 ? a.A : a.C, row + t), bottom = Fetch(half == 0 ? a.B : a.D, row + t);
                    uint left = Fetch(half == 0 ? b.A : b.B, column + t), right = Fetch(half == 0 ? b.A : b.B, column + 4 + t);
                    c.A += Dot(top, left);
                    c.B += Dot(top, right);
                    c.C += Dot(bottom, left);
                    c.D += Dot(bottom, right);
                }
            }
            return c;
        }

        private static uint Fetch(uint register, int lane) => (uint)Warp.Shuffle((int)register, lane);

        private static float Dot(uint a, uint b) => HalfFloats.FromHalf(a & 0xFFFF) * HalfFloats.FromHalf(b & 0xFFFF) + HalfFloats.FromHalf(a >> 16) * HalfFloats.FromHalf(b >> 16);
    }
}
