using Iced.Intel;
using static TpServe.Kernels.Tests.Cpu.Interpreter.FloatOperations;
using static TpServe.Kernels.Tests.Cpu.Interpreter.IntegerOperations;

namespace TpServe.Kernels.Tests.Cpu.Interpreter;

/// <summary>What a vector operation reads and where it writes; the result overlaps nothing it reads.</summary>
internal unsafe struct VectorOperands
{
    /// <summary>64 bytes for the result; Width of them are written.</summary>
    public byte* Result;

    /// <summary>The destination before.</summary>
    public byte* Old;

    /// <summary>First of two sources.</summary>
    public byte* First;

    /// <summary>The only or second source.</summary>
    public byte* Source;

    /// <summary>Bytes of the vector.</summary>
    public int Width;

    /// <summary>Immediate byte.</summary>
    public int Immediate;

    /// <summary>MXCSR.</summary>
    public uint Control;
}

/// <summary>The arithmetic of a vector instruction, whatever its width and wherever its operands are.</summary>
internal readonly unsafe struct VectorOperation(delegate*<VectorOperands*, void> function, int elementBytes, int sources, bool hasImmediate)
{
    /// <summary>Computes the result; null for instructions that are not known.</summary>
    public delegate*<VectorOperands*, void> Function { get; } = function;

    /// <summary>Bytes that one bit of a mask governs.</summary>
    public int ElementBytes { get; } = elementBytes;

    /// <summary>Register and memory operands beside the destination.</summary>
    public int Sources { get; } = sources;

    /// <summary>An immediate byte follows.</summary>
    public bool HasImmediate { get; } = hasImmediate;

    /// <summary>Its operands are binary32: adding, multiplying and comparing.</summary>
    public bool TakesSingles { get; private init; }

    /// <summary>The operation of an instruction.</summary>
    public static VectorOperation Of(Mnemonic mnemonic) => mnemonic switch
    {
        // moves
        Mnemonic.Vmovdqu or Mnemonic.Vmovdqa or Mnemonic.Vmovups or Mnemonic.Vmovaps or Mnemonic.Vmovdqu32 or Mnemonic.Vmovdqa32 => One(&Copy, 4),
        Mnemonic.Vmovdqu8 => One(&Copy, 1),
        Mnemonic.Vmovdqu16 => One(&Copy, 2),
        Mnemonic.Vmovdqu64 or Mnemonic.Vmovdqa64 => One(&Copy, 8),
        Mnemonic.Vmovd => One(&Low<uint>, 4),
        Mnemonic.Vpbroadcastb => One(&Repeat1, 1),
        Mnemonic.Vpbroadcastw => One(&Repeat2, 2),
        Mnemonic.Vpbroadcastd or Mnemonic.Vbroadcastss => One(&Repeat4, 4),
        Mnemonic.Vpbroadcastq => One(&Repeat8, 8),
        Mnemonic.Vbroadcasti128 or Mnemonic.Vbroadcastf128 or Mnemonic.Vbroadcasti32x4 => One(&Repeat16, 4),
        Mnemonic.Vextracti128 or Mnemonic.Vextractf128 => One(&ExtractLane, 4, true),
        Mnemonic.Vinserti128 or Mnemonic.Vinsertf128 => Two(&InsertLane, 4, true),
        Mnemonic.Vpmovzxbw => One(&Widen<byte, ushort>, 2),
        Mnemonic.Vpmovzxbd => One(&Widen<byte, uint>, 4),
        Mnemonic.Vpmovzxwd => One(&Widen<ushort, uint>, 4),
        Mnemonic.Vpmovsxbw => One(&Widen<sbyte, short>, 2),
        Mnemonic.Vpmovsxbd => One(&Widen<sbyte, int>, 4),
        Mnemonic.Vpmovsxwd => One(&Widen<short, int>, 4),
        Mnemonic.Vpmovb2m => One(&SignsToMask, 1),
        Mnemonic.Vpmovm2b => One(&MaskToSigns, 1),

        // bits
        Mnemonic.Vpxor or Mnemonic.Vpxord => Two(&Xor, 4),
        Mnemonic.Vpxorq => Two(&Xor, 8),
        Mnemonic.Vpor or Mnemonic.Vpord => Two(&Or, 4),
        Mnemonic.Vporq => Two(&Or, 8),
        Mnemonic.Vpand or Mnemonic.Vpandd => Two(&And, 4),
        Mnemonic.Vpandq => Two(&And, 8),
        Mnemonic.Vpandn or Mnemonic.Vpandnd => Two(&AndNot, 4),
        Mnemonic.Vpandnq => Two(&AndNot, 8),
        Mnemonic.Vpternlogd => Two(&Ternary, 4, true),
        Mnemonic.Vpsrlw => One(&ShiftRight<ushort>, 2, true),
        Mnemonic.Vpsrld => One(&ShiftRight<uint>, 4, true),
        Mnemonic.Vpsllw => One(&ShiftLeft<ushort>, 2, true),
        Mnemonic.Vpslld => One(&ShiftLeft<uint>, 4, true),
        Mnemonic.Vpsraw => One(&ShiftRightSigned<short>, 2, true),
        Mnemonic.Vpsrad => One(&ShiftRightSigned<int>, 4, true),
        Mnemonic.Vpshufb => Two(&ShuffleBytes, 1),

        // integers
        Mnemonic.Vpaddb => Two(&Add<byte>, 1),
        Mnemonic.Vpaddw => Two(&Add<ushort>, 2),
        Mnemonic.Vpaddd => Two(&Add<uint>, 4),
        Mnemonic.Vpsubb => Two(&Subtract<byte>, 1),
        Mnemonic.Vpsubw => Two(&Subtract<ushort>, 2),
        Mnemonic.Vpsubd => Two(&Subtract<uint>, 4),
        Mnemonic.Vpmaxsd => Two(&Largest<int>, 4),
        Mnemonic.Vpmulld => Two(&MultiplyLow<uint>, 4),
        Mnemonic.Vpmullw => Two(&MultiplyLow<ushort>, 2),
        Mnemonic.Vpmaddubsw => Two(&MultiplyAddBytes, 2),
        Mnemonic.Vpmaddwd => Two(&MultiplyAddWords, 4),
        Mnemonic.Vpsignb => Two(&SignBytes, 1),
        Mnemonic.Vpabsb => One(&AbsoluteBytes, 1),
        Mnemonic.Vpdpbusd => Two(&DotBytes, 4),

        // floats
        Mnemonic.Vcvtdq2ps => One(&IntegersToSingles, 4),
        Mnemonic.Vcvtph2ps => One(&HalvesToSingles, 4),
        Mnemonic.Vaddps => Singles(&AddSingles),
        Mnemonic.Vsubps => Singles(&SubtractSingles),
        Mnemonic.Vmulps => Singles(&MultiplySingles),
        Mnemonic.Vmaxps => Singles(&MaximumSingles),
        Mnemonic.Vminps => Singles(&MinimumSingles),
        Mnemonic.Vfmadd132ps => Singles(&MultiplyAdd132),
        Mnemonic.Vfmadd213ps => Singles(&MultiplyAdd213),
        Mnemonic.Vfmadd231ps => Singles(&MultiplyAdd231),
        Mnemonic.Vfnmadd132ps => Singles(&NegativeMultiplyAdd132),
        Mnemonic.Vfnmadd213ps => Singles(&NegativeMultiplyAdd213),
        Mnemonic.Vfnmadd231ps => Singles(&NegativeMultiplyAdd231),
        Mnemonic.Vdpbf16ps => Two(&DotBFloats, 4),
        _ => default,
    };

    private static VectorOperation One(delegate*<VectorOperands*, void> function, int elementBytes, bool hasImmediate = false) => new(function, elementBytes, 1, hasImmediate);

    private static VectorOperation Two(delegate*<VectorOperands*, void> function, int elementBytes, bool hasImmediate = false) => new(function, elementBytes, 2, hasImmediate);

    private static VectorOperation Singles(delegate*<VectorOperands*, void> function) => new(function, sizeof(float), 2, false) { TakesSingles = true };
}
