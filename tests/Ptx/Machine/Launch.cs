using TpServe.Ptx.Memory;
using TpServe.Ptx.Text;

namespace TpServe.Ptx.Machine;

/// <summary>One launch: the program, its sizes, the arguments, and what the blocks share.</summary>
internal sealed class Launch
{
    /// <summary>Where shared and local memory lie in the generic address space; both windows are below every allocation.</summary>
    public const ulong SharedWindow = 0x1_0000_0000, LocalWindow = 0x2_0000_0000, WindowBytes = 0x1_0000_0000;

    private readonly PtxProgram _program;
    private readonly Symbol[] _shared;

    public Launch(PtxProgram program, PtxMemory memory, Function kernel)
    {
        _program = program;
        Memory = memory;
        Kernel = kernel;
        Entry = kernel.Start;
        _shared = [.. program.Symbols.Where(symbol => symbol.Space == Space.Shared)];
        Counts = new LaunchCounts(program.Code.Length);
    }

    public PtxProgram Program => _program;
    public PtxMemory Memory { get; }
    public Function Kernel { get; }
    public string KernelName => Kernel.Name;
    public int Entry { get; }
    public LaunchCounts Counts { get; }
    public required (int X, int Y, int Z) GridSize { get; init; }
    public required (int X, int Y, int Z) BlockSize { get; init; }
    public required int DynamicSharedBytes { get; init; }
    public required byte[] Arguments { get; init; }

    /// <summary>The launches that run at the same time as this one, and what they share.</summary>
    public required LaunchGroup Together { get; init; }

    /// <summary>The numbers of its first block and its first instruction among those of all launches.</summary>
    public int FirstBlock { get; set; }

    public int FirstSite { get; set; }
    public int BlockThreads => BlockSize.X * BlockSize.Y * BlockSize.Z;
    public int BlockCount => GridSize.X * GridSize.Y * GridSize.Z;
    public int SharedBytes => _program.StaticSharedBytes + DynamicSharedBytes;

    /// <summary>Branches said to be uniform (.uni) that parted a warp.</summary>
    public long DividedUniformBranches { get; set; }

    /// <summary>The blocks that run now.</summary>
    public List<Block> Resident { get; } = [];

    public bool Owns(int block) => block >= FirstBlock && block < FirstBlock + BlockCount;

    public ulong AddressOf(Symbol symbol) => symbol.Space switch
    {
        Space.Global or Space.Const => Memory.GlobalOf(symbol).Address,
        _ => (ulong)symbol.Offset,
    };

    public Region NewShared()
    {
        int dynamic = _program.DynamicSharedOffset;
        Region shared = new("shared memory", 0, dynamic + DynamicSharedBytes, ByteState.Outside);
        foreach (Symbol symbol in _shared)
            if (!symbol.IsExtern)
                shared.Open(symbol.Offset, symbol.Bytes);
        shared.Open(dynamic, DynamicSharedBytes);
        Together.Watch(shared);
        return shared;
    }
}
