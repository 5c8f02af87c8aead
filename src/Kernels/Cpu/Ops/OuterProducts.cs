using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using TpServe.Kernels.Cpu.Emit;

namespace TpServe.Kernels.Cpu.Ops;

/// <summary>The inner loops of attention: sums[r][j] ← start + Σ_i a[i][r] · b[i][j], i ascending, for a few rows r and vectors of 16 j.</summary>
/// <remarks>
/// Shapes   a(i, r) at a + i + r · aRow floats; vector v of b(i) at b[v] + i · stride bytes; sums of row r at sums + r · sumRow floats.
///          start is sums[r][j] itself, or 0 where fresh.
/// Numerics each sum is one chain of fused multiply-adds in ascending i, whatever the tile: a row alone, with others or in any order has the
///          same bits, emitted or not.
/// Cost     4 × 4: 16 multiply-adds per 4 loads of b and 4 broadcasts of a: bound by the multiply pipes, not by loads.
/// </remarks>
/// <param name="family">Instructions of the emitted loops; null = plain ones.</param>
internal sealed unsafe class OuterProducts(InstructionFamily? family)
{
    /// <summary>Rows of a tile.</summary>
    public const int Rows = 4;

    /// <summary>Vectors of a tile.</summary>
    public const int Vectors = 4;

    private const int L = VectorMath.Lanes;

    private readonly OuterProductCode?[] _code = new OuterProductCode?[1 + (int)Enum.GetValues<ElementType>().Max()];

    /// <summary>Makes the loops for caches of a type: nothing is emitted while a step runs.</summary>
    public void Prepare(ElementType type)
    {
        if (family is not null)
            _code[(int)type] ??= OuterProductCode.Of(family, type);
    }

    /// <summary>1..4 rows, 1..4 vectors; <paramref name="next"/> is b of the call that reads what comes next, b itself where there is none.</summary>
    public void Add<TElement>(float* a, nint aRow, byte** b, byte** next, int rows, int vectors, nint stride, int count, float* sums, nint sumRow, bool fresh)
        where TElement : struct, IKvElement
    {
        if (_code[(int)TElement.Type] is { } code)
        {
            OuterCall call = new()
            {
                A = a,
                RowBytes = aRow * sizeof(float),
                B = b,
                Next = next,
                StepBytes = stride,
                Count = count,
                Sums = sums,
                SumBytes = sumRow * sizeof(float),
                IsFresh = fresh ? 1 : 0,
            };
            code.Run(rows, vectors, &call);
            return;
        }
        for (int v = 0; v < vectors; v++)
            for (int row = 0; row < rows; row++)
                AddOne<TElement>(a + (row * aRow), b[v], stride, count, sums + (row * sumRow) + (v * L), fresh);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddOne<TElement>(float* a, byte* b, nint stride, int count, float* sums, bool fresh)
        where TElement : struct, IKvElement
    {
        Vector512<float> s = fresh ? Vector512<float>.Zero : Vector512.Load(sums);
        for (int i = 0; i < count; i++, a++, b += stride)
            s = Vector512.FusedMultiplyAdd(Vector512.Create(*a), TElement.Load(b), s);
        s.Store(sums);
    }
}
