using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;
using TpServe.Kernels.Cpu.Emit;

namespace TpServe.Kernels.Cpu.Ops;

/// <summary>The inner loops of attention: sums[r][j] ← start + Σ_i a[i][r] · b[i][j], i ascending, for a few rows r and vectors of 16 j.</summary>
/// <remarks>
/// Shapes   a(i, r) at a + i + r · aRow floats; vector v of b(i) at b[v] + i · stride bytes; sums of row r at sums + r · sumRow floats.
///          start is sums[r][j] itself, or 0 where fresh. b(i)[j] is a code times its scale where there are <see cref="ElementScales"/>.
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

    private static readonly int Kinds = Enum.GetValues<ScalesOf>().Length;

    private readonly OuterProductCode?[] _code = new OuterProductCode?[(1 + (int)Enum.GetValues<ElementType>().Max()) * Kinds];

    /// <summary>Makes the loops for caches of a type: nothing is emitted while a step runs.</summary>
    public void Prepare<TElement>()
        where TElement : struct, IKvElement
    {
        if (family is null)
            return;
        ScalesOf first = TElement.HasScales ? ScalesOf.Lanes : ScalesOf.Nothing, last = TElement.HasScales ? ScalesOf.Steps : ScalesOf.Nothing;
        for (ScalesOf scales = first; scales <= last; scales++)
            _code[Index<TElement>(scales)] ??= OuterProductCode.Of(family, TElement.Type, scales);
    }

    /// <summary>1..4 rows, 1..4 vectors; <paramref name="next"/> is b of the call that reads what comes next, b itself where there is none.</summary>
    public void Add<TElement>(
        float* a, nint aRow, byte** b, byte** next, int rows, int vectors, nint stride, int count, float* sums, nint sumRow, bool fresh, ElementScales scales)
        where TElement : struct, IKvElement
    {
        if (_code[Index<TElement>(scales.Of)] is { } code)
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
                Scales = scales.First,
            };
            code.Run(rows, vectors, &call);
            return;
        }
        for (int v = 0; v < vectors; v++)
            for (int row = 0; row < rows; row++)
                AddOne<TElement>(a + (row * aRow), b[v], stride, count, sums + (row * sumRow) + (v * L), fresh, scales.OfVector(v));
    }

    private static int Index<TElement>(ScalesOf scales)
        where TElement : struct, IKvElement => ((int)TElement.Type * Kinds) + (int)scales;

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static void AddOne<TElement>(float* a, byte* b, nint stride, int count, float* sums, bool fresh, ElementScales scales)
        where TElement : struct, IKvElement
    {
        Vector512<float> s = fresh ? Vector512<float>.Zero : Vector512.Load(sums);
        for (int i = 0; i < count; i++, a++, b += stride)
        {
            Vector512<float> elements = TElement.Load(b);
            if (TElement.HasScales)
                elements *= scales.At(i);
            s = Vector512.FusedMultiplyAdd(Vector512.Create(*a), elements, s);
        }
        s.Store(sums);
    }
}

/// <summary>Factors on the elements of b, for each block of 32 along j or along i; default: none.</summary>
/// <remarks>
/// Shapes   rows of 64 floats from First on: of lanes, b(i)[j] has the factor [i / 32][j], and there are whole blocks of i; of steps [j / 32][i].
/// </remarks>
internal readonly unsafe struct ElementScales(ScalesOf of, float* first)
{
    /// <summary>Floats from one block's factors to the next one's.</summary>
    public const int Row = OnlineSoftmax.ChunkPositions;

    public ScalesOf Of => of;

    public float* First => first;

    /// <summary>Those of a vector of 16 j.</summary>
    public ElementScales OfVector(int v) => new(of, of switch
    {
        ScalesOf.Lanes => first + (v * VectorMath.Lanes),
        ScalesOf.Steps => first + (v * VectorMath.Lanes / Q8Block.Elements * Row),
        _ => first,
    });

    /// <summary>The factors of 16 lanes at a step.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public Vector512<float> At(int i) => of == ScalesOf.Lanes ? Vector512.Load(first + (i / Q8Block.Elements * Row)) : Vector512.Create(first[i]);
}

/// <summary>What has a factor of its own in each block of 32: a lane as long as 32 steps go, a step for 32 lanes side by side.</summary>
internal enum ScalesOf
{
    /// <summary>There are no factors.</summary>
    Nothing,

    /// <summary>Keys: a lane is a position.</summary>
    Lanes,

    /// <summary>Values: a step is a position.</summary>
    Steps,
}
