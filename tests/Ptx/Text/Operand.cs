namespace TpServe.Ptx.Text;

/// <summary>What an operand of an instruction is.</summary>
internal enum OperandKind
{
    Register, Immediate, Symbol, Address, Vector, List, Special, Name, Pair, Sink,
}

/// <summary>A declared register: its place in the warp's register file, or in the file of predicates.</summary>
internal sealed record Register(string Name, PtxType Type, int Index);

/// <summary>Where a variable lives.</summary>
internal enum Space
{
    Generic, Global, Shared, Local, Param, Const,
}

/// <summary>A declared variable; Offset is its place in its space, given by the layout.</summary>
internal sealed class Symbol(string name, Space space, int align, int bytes)
{
    public string Name { get; } = name;
    public Space Space { get; } = space;
    public int Align { get; } = Math.Max(1, align);

    /// <summary>Size, 0 for the dynamic shared array.</summary>
    public int Bytes { get; } = bytes;

    public int Index { get; set; }
    public int Offset { get; set; }

    /// <summary>A parameter of a kernel: read from the launch's arguments, not from the thread.</summary>
    public bool IsKernelParameter { get; init; }

    public bool IsExtern { get; init; }
    public byte[]? Initial { get; set; }
}

/// <summary>One operand as written, names resolved.</summary>
internal sealed class Operand(OperandKind kind)
{
    public OperandKind Kind { get; } = kind;
    public Register? Register { get; init; }

    /// <summary>The predicate is negated (!%p).</summary>
    public bool Negated { get; init; }

    /// <summary>The bits of an immediate; FloatBits says 32 (0f...), 64 (0d... and decimals) or 0 for an integer.</summary>
    public ulong Bits { get; init; }

    public int FloatBits { get; init; }
    public Symbol? Symbol { get; init; }
    public long Offset { get; init; }
    public string Name { get; init; } = "";

    /// <summary>A name's scope, where a label is looked up once the body is read.</summary>
    public Scope? Scope { get; init; }

    public Operand[] Items { get; init; } = [];
}

/// <summary>One instruction as written.</summary>
internal sealed record Instruction(int Line, string Text, Operand? Guard, string Opcode, Operand[] Operands);

/// <summary>A kernel or function as written.</summary>
internal sealed class FunctionText(string name, bool isKernel, int line)
{
    public string Name { get; } = name;
    public bool IsKernel { get; } = isKernel;
    public int Line { get; } = line;
    public List<Symbol> Parameters { get; } = [];
    public List<Symbol> Results { get; } = [];
    public List<Symbol> Variables { get; } = [];
    public List<Instruction> Body { get; } = [];

    public int[]? MostThreads { get; set; }
    public int[]? ExactThreads { get; set; }
    public bool HasBody { get; set; }
}

/// <summary>A pair of braces: the names declared between them hide those outside.</summary>
internal sealed class Scope(Scope? parent)
{
    public Scope? Parent { get; } = parent;
    public Dictionary<string, Register> Registers { get; } = [];
    public Dictionary<string, Symbol> Symbols { get; } = [];

    /// <summary>Labels: the index in the body of the instruction they stand before.</summary>
    public Dictionary<string, int> Labels { get; } = [];

    /// <summary>The lists of brx.idx.</summary>
    public Dictionary<string, string[]> BranchTargets { get; } = [];

    /// <summary>The value of name in the innermost scope that has it.</summary>
    public T? Find<T>(Func<Scope, Dictionary<string, T>> names, string name)
    {
        for (Scope? scope = this; scope != null; scope = scope.Parent)
            if (names(scope).TryGetValue(name, out T? value))
                return value;
        return default;
    }
}
