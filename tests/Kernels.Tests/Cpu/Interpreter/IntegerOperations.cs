using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace TpServe.Kernels.Tests.Cpu.Interpreter;

/// <summary>Moves, bits and integers of vector registers, in plain loops and in 16-byte operations that every machine has.</summary>
/// <remarks>Cost      the loops that kernels spend their steps in are optimised at the first call: a test is over before tiering would do it.</remarks>
internal static unsafe class IntegerOperations
{
    private const int LaneBytes = 16;

    public static void Copy(VectorOperands* o) => Unsafe.CopyBlockUnaligned(o->Result, o->Source, (uint)o->Width);

    public static void Low<T>(VectorOperands* o)
        where T : unmanaged
    {
        Unsafe.InitBlockUnaligned(o->Result, 0, (uint)o->Width);
        *(T*)o->Result = *(T*)o->Source;
    }

    public static void Repeat1(VectorOperands* o) => Unsafe.InitBlockUnaligned(o->Result, *o->Source, (uint)o->Width);

    public static void Repeat2(VectorOperands* o) => RepeatLanes(o, Vector128.Create(*(ushort*)o->Source).AsByte());

    public static void Repeat4(VectorOperands* o) => RepeatLanes(o, Vector128.Create(*(uint*)o->Source).AsByte());

    public static void Repeat8(VectorOperands* o) => RepeatLanes(o, Vector128.Create(*(ulong*)o->Source).AsByte());

    public static void Repeat16(VectorOperands* o) => RepeatLanes(o, Vector128.Load(o->Source));

    public static void ExtractLane(VectorOperands* o) => Vector128.Load(o->Source + (LaneBytes * (o->Immediate & 1))).Store(o->Result);

    public static void InsertLane(VectorOperands* o)
    {
        Unsafe.CopyBlockUnaligned(o->Result, o->First, (uint)o->Width);
        Vector128.Load(o->Source).Store(o->Result + (LaneBytes * (o->Immediate & 1)));
    }

    public static void Widen<TFrom, TTo>(VectorOperands* o)
        where TFrom : unmanaged, IBinaryInteger<TFrom>
        where TTo : unmanaged, IBinaryInteger<TTo>
    {
        TFrom* source = (TFrom*)o->Source;
        TTo* result = (TTo*)o->Result;
        for (int i = 0, count = o->Width / sizeof(TTo); i < count; i++)
            result[i] = TTo.CreateTruncating(source[i]);
    }

    public static void SignsToMask(VectorOperands* o)
    {
        ulong mask = 0;
        for (int i = 0; i < o->Width; i++)
            mask |= (ulong)(o->Source[i] >> 7) << i;
        *(ulong*)o->Result = mask;
    }

    public static void MaskToSigns(VectorOperands* o)
    {
        ulong mask = *(ulong*)o->Source;
        for (int i = 0; i < o->Width; i++)
            o->Result[i] = (byte)-(int)((mask >> i) & 1);
    }

    public static void Xor(VectorOperands* o)
    {
        for (int i = 0; i < o->Width; i += LaneBytes)
            (Vector128.Load(o->First + i) ^ Vector128.Load(o->Source + i)).Store(o->Result + i);
    }

    public static void Or(VectorOperands* o)
    {
        for (int i = 0; i < o->Width; i += LaneBytes)
            (Vector128.Load(o->First + i) | Vector128.Load(o->Source + i)).Store(o->Result + i);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void And(VectorOperands* o)
    {
        for (int i = 0; i < o->Width; i += LaneBytes)
            (Vector128.Load(o->First + i) & Vector128.Load(o->Source + i)).Store(o->Result + i);
    }

    public static void AndNot(VectorOperands* o)
    {
        for (int i = 0; i < o->Width; i += LaneBytes)
            (~Vector128.Load(o->First + i) & Vector128.Load(o->Source + i)).Store(o->Result + i);
    }

    // Bit i of the immediate is the result where destination, first and second source read i as a number of three bits.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void Ternary(VectorOperands* o)
    {
        for (int i = 0; i < o->Width; i += sizeof(ulong))
        {
            ulong a = *(ulong*)(o->Old + i), b = *(ulong*)(o->First + i), c = *(ulong*)(o->Source + i), result = 0;
            for (int row = 0; row < 8; row++)
            {
                if ((o->Immediate >> row & 1) != 0)
                    result |= ((row & 4) != 0 ? a : ~a) & ((row & 2) != 0 ? b : ~b) & ((row & 1) != 0 ? c : ~c);
            }
            *(ulong*)(o->Result + i) = result;
        }
    }

    public static void ShiftRight<T>(VectorOperands* o)
        where T : unmanaged, IBinaryInteger<T>
    {
        T* source = (T*)o->Source, result = (T*)o->Result;
        for (int i = 0, count = o->Width / sizeof(T); i < count; i++)
            result[i] = o->Immediate < 8 * sizeof(T) ? source[i] >>> o->Immediate : T.Zero;
    }

    public static void ShiftLeft<T>(VectorOperands* o)
        where T : unmanaged, IBinaryInteger<T>
    {
        T* source = (T*)o->Source, result = (T*)o->Result;
        for (int i = 0, count = o->Width / sizeof(T); i < count; i++)
            result[i] = o->Immediate < 8 * sizeof(T) ? source[i] << o->Immediate : T.Zero;
    }

    public static void ShiftRightSigned<T>(VectorOperands* o)
        where T : unmanaged, IBinaryInteger<T>
    {
        T* source = (T*)o->Source, result = (T*)o->Result;
        for (int i = 0, count = o->Width / sizeof(T); i < count; i++)
            result[i] = source[i] >> Math.Min(o->Immediate, (8 * sizeof(T)) - 1);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void ShuffleBytes(VectorOperands* o)
    {
        byte* table = o->First, indices = o->Source, result = o->Result;
        for (int i = 0, count = o->Width; i < count; i++)
            result[i] = indices[i] >= 0x80 ? (byte)0 : table[(i & ~(LaneBytes - 1)) + (indices[i] & (LaneBytes - 1))];
    }

    public static void Add<T>(VectorOperands* o)
        where T : unmanaged
    {
        for (int i = 0; i < o->Width; i += LaneBytes)
            (Vector128.Load((T*)(o->First + i)) + Vector128.Load((T*)(o->Source + i))).Store((T*)(o->Result + i));
    }

    public static void Subtract<T>(VectorOperands* o)
        where T : unmanaged
    {
        for (int i = 0; i < o->Width; i += LaneBytes)
            (Vector128.Load((T*)(o->First + i)) - Vector128.Load((T*)(o->Source + i))).Store((T*)(o->Result + i));
    }

    public static void Largest<T>(VectorOperands* o)
        where T : unmanaged
    {
        for (int i = 0; i < o->Width; i += LaneBytes)
            Vector128.Max(Vector128.Load((T*)(o->First + i)), Vector128.Load((T*)(o->Source + i))).Store((T*)(o->Result + i));
    }

    public static void MultiplyLow<T>(VectorOperands* o)
        where T : unmanaged, IBinaryInteger<T>
    {
        T* first = (T*)o->First, second = (T*)o->Source, result = (T*)o->Result;
        for (int i = 0, count = o->Width / sizeof(T); i < count; i++)
            result[i] = unchecked(first[i] * second[i]);
    }

    // Unsigned bytes of the first source by signed ones of the second; the sum of a pair saturates.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void MultiplyAddBytes(VectorOperands* o)
    {
        byte* first = o->First;
        sbyte* second = (sbyte*)o->Source;
        short* result = (short*)o->Result;
        for (int i = 0, count = o->Width; i < count; i += 2)
            result[i >> 1] = (short)Math.Clamp((first[i] * second[i]) + (first[i + 1] * second[i + 1]), short.MinValue, short.MaxValue);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void MultiplyAddWords(VectorOperands* o)
    {
        short* first = (short*)o->First, second = (short*)o->Source;
        int* result = (int*)o->Result;
        for (int i = 0, count = o->Width / sizeof(short); i < count; i += 2)
            result[i >> 1] = unchecked((first[i] * second[i]) + (first[i + 1] * second[i + 1]));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void SignBytes(VectorOperands* o)
    {
        sbyte* first = (sbyte*)o->First, second = (sbyte*)o->Source, result = (sbyte*)o->Result;
        for (int i = 0, count = o->Width; i < count; i++)
            result[i] = unchecked((sbyte)(first[i] * Math.Sign(second[i])));
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void AbsoluteBytes(VectorOperands* o)
    {
        sbyte* source = (sbyte*)o->Source;
        byte* result = o->Result;
        for (int i = 0, count = o->Width; i < count; i++)
            result[i] = (byte)(source[i] < 0 ? -source[i] : source[i]);
    }

    // Unsigned bytes of the first source by signed ones of the second; four products and the accumulator, without saturation.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static void DotBytes(VectorOperands* o)
    {
        byte* first = o->First;
        sbyte* second = (sbyte*)o->Source;
        int* old = (int*)o->Old, result = (int*)o->Result;
        for (int i = 0, count = o->Width; i < count; i += 4)
        {
            int products = (first[i] * second[i]) + (first[i + 1] * second[i + 1]) + (first[i + 2] * second[i + 2]) + (first[i + 3] * second[i + 3]);
            result[i >> 2] = unchecked(old[i >> 2] + products);
        }
    }

    private static void RepeatLanes(VectorOperands* o, Vector128<byte> lane)
    {
        for (int i = 0; i < o->Width; i += LaneBytes)
            lane.Store(o->Result + i);
    }
}
