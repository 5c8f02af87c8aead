using TpServe.Ptx.Machine;
using TpServe.Ptx.Text;

namespace TpServe.Ptx.Ops;

/// <summary>Turns the instructions of every function into operations of one program.</summary>
internal sealed class Decoder(Parser text, int sinkRegister, int sinkPredicate)
{
    /// <summary>The families of instructions, asked in turn; null means another family's.</summary>
    private static readonly Func<Form, PtxOp?>[] Families =
    [
        MoveDecoding.OrNull, IntegerDecoding.OrNull, FloatDecoding.OrNull, CompareDecoding.OrNull, ConvertDecoding.OrNull,
        MemoryDecoding.OrNull, AtomicDecoding.OrNull, BarrierDecoding.OrNull, WarpDecoding.OrNull, AsyncCopyDecoding.OrNull,
        MatrixDecoding.OrNull,
    ];

    private readonly List<PtxOp> _code = [];
    private readonly Dictionary<string, Function> _functions = [];
    private readonly List<(CallOp Call, Form Form)> _calls = [];

    public (PtxOp[] Code, Dictionary<string, Function> Functions) Decode()
    {
        foreach (FunctionText function in text.Functions)
            if (function.HasBody)
                DecodeBody(function);
        foreach ((CallOp call, Form form) in _calls)
            ResolveCall(call, form);
        return ([.. _code], _functions);
    }

    private void DecodeBody(FunctionText function)
    {
        int start = _code.Count, end = start + function.Body.Count;
        _functions[function.Name] = new Function(function, start);
        foreach (Instruction instruction in function.Body)
        {
            Form form = new(instruction, function.Name, sinkRegister, sinkPredicate);
            Add(Control(form, function, start, end) ?? Families.Select(family => family(form)).FirstOrDefault(op => op != null) ?? throw form.Unknown(), instruction, function);
        }
        PtxOp last = function.IsKernel ? new ExitOp() : new ReturnOp();
        Add(last, new Instruction(function.Body.Count > 0 ? function.Body[^1].Line : function.Line, "(end)", null, "ret", []), function);
        PostDominators.Resolve(_code, start, end + 1);
    }

    private void Add(PtxOp op, Instruction instruction, FunctionText function)
    {
        op.Index = _code.Count;
        op.Source = instruction;
        op.Function = function.Name;
        if (instruction.Guard != null)
        {
            op.Guard = instruction.Guard.Register!.Index;
            op.GuardNegated = instruction.Guard.Negated;
        }
        _code.Add(op);
    }

    private PtxOp? Control(Form form, FunctionText function, int start, int end)
    {
        switch (form.Name)
        {
            case "bra":
                bool isUniform = form.Take("uni");
                form.Done(1);
                return new BranchOp(Label(form, form.Operands[0].Name, form.Operands[0].Scope, start), isUniform);
            case "brx":
                form.TakeAll("idx", "uni");
                form.Done(2);
                string[] labels = form.Operands[1].Scope?.Find(scope => scope.BranchTargets, form.Operands[1].Name) ?? throw form.Error("names no .branchtargets");
                return new IndexedBranchOp(form.Read(0, PtxType.U32), [.. labels.Select(label => Label(form, label, form.Operands[1].Scope, start))]);
            case "ret" or "exit":
                form.Take("uni");
                form.Done(0);
                return function.IsKernel || form.Name == "exit" ? new ExitOp() : new BranchOp(end, isUniform: false);
            case "trap" or "brkpt":
                form.Done(0);
                return new TrapOp(form.Name);
            case "call":
                form.Take("uni");
                CallOp call = new();
                _calls.Add((call, form));
                return call;
            default:
                return null;
        }
    }

    private static int Label(Form form, string name, Scope? scope, int start)
    {
        for (Scope? inner = scope; inner != null; inner = inner.Parent)
            if (inner.Labels.TryGetValue(name, out int index))
                return start + index;
        throw form.Error($"names the label {name}, which is nowhere");
    }

    private void ResolveCall(CallOp call, Form form)
    {
        Operand[] operands = form.Operands;
        int at = operands.Length > 0 && operands[0].Kind == OperandKind.List && operands.Length > 1 ? 1 : 0;
        string name = operands.Length > at ? operands[at].Name : "";
        Operand[] results = at == 1 ? operands[0].Items : [];
        Operand[] arguments = operands.Length > at + 1 ? operands[at + 1].Items : [];
        FunctionText callee = text.Functions.Find(function => function.Name == name) ?? throw form.Error($"calls {name}, which is not declared");
        if (results.Length != callee.Results.Count || arguments.Length != callee.Parameters.Count)
            throw form.Error($"does not fit the parameters of {name}");
        call.Name = name;
        call.Start = callee.HasBody ? _functions[name].Start : -1;
        call.Arguments = [.. arguments.Zip(callee.Parameters, (actual, formal) => (Symbol(form, actual), formal))];
        call.Results = [.. callee.Results.Zip(results, (formal, actual) => (formal, Symbol(form, actual)))];
    }

    private static Symbol Symbol(Form form, Operand operand) =>
        operand.Symbol is { Space: Space.Param } symbol ? symbol : throw form.Error("passes something that is no .param variable");
}
