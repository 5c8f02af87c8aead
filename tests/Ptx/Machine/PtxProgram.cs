using TpServe.Ptx.Memory;
using TpServe.Ptx.Ops;
using TpServe.Ptx.Text;

namespace TpServe.Ptx.Machine;

/// <summary>A kernel or function: where its instructions start.</summary>
internal sealed record Function(FunctionText Text, int Start)
{
    public string Name => Text.Name;
}

/// <summary>A decoded module: one array of instructions, and the layout of its variables.</summary>
internal sealed class PtxProgram
{
    /// <summary>Offset 0 of shared memory is the system's on cards since sm_80: an access of it is a lost base address.</summary>
    private const int FirstSharedByte = 1024;

    /// <summary>Bytes left free between variables, so that an index past the end is found.</summary>
    private const int Gap = 16;

    private readonly List<Symbol> _local = [];
    private readonly int _localBytes;

    public PtxProgram(Parser text)
    {
        Symbols = text.Symbols;
        RegisterCount = text.RegisterCount + 1;
        PredicateCount = text.PredicateCount + 1;
        int shared = FirstSharedByte, widest = 16;
        foreach (Symbol symbol in Symbols)
        {
            switch (symbol.Space)
            {
                case Space.Shared when !symbol.IsExtern:
                    symbol.Offset = RoundUp(shared, symbol.Align);
                    shared = symbol.Offset + symbol.Bytes + Gap;
                    StaticSharedBytes = RoundUp(StaticSharedBytes, symbol.Align) + symbol.Bytes;
                    break;
                case Space.Shared:
                    widest = Math.Max(widest, symbol.Align);
                    break;
                case Space.Local:
                    symbol.Offset = RoundUp(_localBytes + Gap, symbol.Align);
                    _localBytes = symbol.Offset + symbol.Bytes;
                    _local.Add(symbol);
                    break;
                case Space.Param when !symbol.IsKernelParameter:
                    symbol.Offset = RoundUp(ParameterBytes, 8);
                    ParameterBytes = symbol.Offset + symbol.Bytes;
                    break;
            }
        }
        // ptxas puts the dynamic array at a multiple of 16 even where it is declared with less.
        DynamicSharedOffset = RoundUp(shared, widest);
        foreach (Symbol symbol in Symbols)
            if (symbol.Space == Space.Shared && symbol.IsExtern)
                symbol.Offset = DynamicSharedOffset;
        foreach (FunctionText function in text.Functions)
            if (function.IsKernel)
                PlaceParameters(function);
        (Code, Functions) = new Decoder(text, RegisterCount - 1, PredicateCount - 1).Decode();
    }

    public List<Symbol> Symbols { get; }
    public PtxOp[] Code { get; }
    public Dictionary<string, Function> Functions { get; }

    /// <summary>Counts with one more of each, where results written to _ go.</summary>
    public int RegisterCount { get; }

    public int PredicateCount { get; }
    public int ParameterBytes { get; }
    public int StaticSharedBytes { get; }
    public int DynamicSharedOffset { get; }
    public int LocalBytes => _localBytes;

    public Region NewLocal()
    {
        Region local = new("local memory", 0, _localBytes, ByteState.Outside);
        foreach (Symbol symbol in _local)
            local.Open(symbol.Offset, symbol.Bytes);
        return local;
    }

    private static void PlaceParameters(FunctionText kernel)
    {
        int bytes = 0;
        foreach (Symbol parameter in kernel.Parameters)
        {
            parameter.Offset = RoundUp(bytes, parameter.Align);
            bytes = parameter.Offset + parameter.Bytes;
        }
    }

    private static int RoundUp(int value, int align) => (value + align - 1) / align * align;
}
