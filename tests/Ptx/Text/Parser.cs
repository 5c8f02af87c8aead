using System.Globalization;

namespace TpServe.Ptx.Text;

/// <summary>Reads a module: directives, functions, and their instructions with every name but labels resolved.</summary>
internal sealed class Parser
{
    private readonly List<Token> _tokens;
    private readonly Scope _module = new(null);
    private readonly OperandReader _operands;
    private int _at;
    private Scope _scope;
    private FunctionText? _function;

    public Parser(string text)
    {
        _tokens = Lexer.Read(text);
        _scope = _module;
        _operands = new OperandReader(this);
    }

    public string Version { get; private set; } = "";
    public string Target { get; private set; } = "";
    public List<FunctionText> Functions { get; } = [];

    /// <summary>Every variable, in the order of declaration.</summary>
    public List<Symbol> Symbols { get; } = [];

    public int RegisterCount { get; private set; }
    public int PredicateCount { get; private set; }
    public Scope Scope => _scope;

    public void Read()
    {
        while (_at < _tokens.Count)
        {
            string word = Peek();
            if (word == ".version")
                Version = NextAfter(word);
            else if (word == ".target")
            {
                Target = NextAfter(word);
                while (TryTake(","))
                    Next();
            }
            else if (word == ".address_size")
                NextAfter(word);
            else if (word is ".pragma")
                SkipStatement();
            else if (word == ".section")
                SkipBraces();
            else if (!TryTake(";"))
                ReadDeclaration();
        }
    }

    private void ReadDeclaration()
    {
        bool isExtern = false;
        while (true)
        {
            string word = Peek();
            if (word is ".visible" or ".weak" or ".common")
                Next();
            else if (word == ".extern")
            {
                Next();
                isExtern = true;
            }
            else if (word is ".entry" or ".func")
            {
                Next();
                ReadFunction(word == ".entry");
                return;
            }
            else if (SpaceOf(word) is Space space)
            {
                Next();
                ReadVariables(space, isExtern);
                return;
            }
            else
                throw Error($"'{word}' is no declaration");
        }
    }

    private void ReadFunction(bool isKernel)
    {
        Scope scope = new(_module);
        _scope = scope;
        List<Symbol> results = [];
        if (Peek() == "(")
            ReadParameters(results, isKernel: false);
        int line = Line;
        FunctionText function = new(Next(), isKernel, line);
        function.Results.AddRange(results);
        if (Peek() == "(")
            ReadParameters(function.Parameters, isKernel);
        while (Peek() is ".maxntid" or ".reqntid" or ".minnctapersm" or ".maxnreg" or ".noreturn" or ".pragma" or ".maxnctapersm")
            ReadLimit(function);
        if (TryTake(";"))
        {
            _scope = _module;
            Declare(function);
            return;
        }
        function.HasBody = true;
        _function = function;
        Expect("{");
        ReadBody();
        _function = null;
        _scope = _module;
        Declare(function);
    }

    /// <summary>A function is declared once before its body; the body replaces the declaration.</summary>
    private void Declare(FunctionText function)
    {
        int old = Functions.FindIndex(other => other.Name == function.Name);
        if (old < 0)
            Functions.Add(function);
        else if (function.HasBody)
            Functions[old] = function;
    }

    private void ReadLimit(FunctionText function)
    {
        string directive = Next();
        if (directive == ".pragma")
        {
            SkipStatement();
            return;
        }
        if (directive == ".noreturn")
            return;
        List<int> sizes = [Integer()];
        while (TryTake(","))
            sizes.Add(Integer());
        if (directive == ".maxntid")
            function.MostThreads = [.. sizes];
        else if (directive == ".reqntid")
            function.ExactThreads = [.. sizes];
    }

    private void ReadParameters(List<Symbol> parameters, bool isKernel)
    {
        Expect("(");
        while (!TryTake(")"))
        {
            if (SpaceOf(Peek()) != Space.Param)
                throw Error($"a parameter is declared {Peek()}: only .param is supported");
            Next();
            parameters.Add(ReadVariable(Space.Param, isExtern: false, isKernel));
            TryTake(",");
        }
    }

    private void ReadVariables(Space space, bool isExtern)
    {
        ReadVariable(space, isExtern, isKernelParameter: false);
        while (TryTake(","))
            throw Error("several variables in one declaration are not supported");
        Expect(";");
    }

    private Symbol ReadVariable(Space space, bool isExtern, bool isKernelParameter)
    {
        int align = 0, vector = 1;
        PtxType type = PtxType.B8;
        while (Peek().StartsWith('.'))
        {
            string word = Next();
            if (word == ".align")
                align = Integer();
            else if (word is ".v2" or ".v4")
                vector = word[2] - '0';
            else if (word == ".ptr")
            {
                while (Peek() is ".global" or ".shared" or ".const" or ".local")
                    Next();
            }
            else if (!PtxTypes.TryParse(word[1..], out type))
                throw Error($"'{word}' is no type");
        }
        string name = Next();
        int count = 1;
        bool open = false;
        while (TryTake("["))
        {
            if (Peek() == "]")
                open = true;
            else
                count *= Integer();
            Expect("]");
        }
        byte[]? initial = TryTake("=") ? ReadInitial(type) : null;
        if (open)
            count = initial == null ? 0 : initial.Length / type.Bytes();
        Symbol symbol = new(name, space, align == 0 ? type.Bytes() * vector : align, count * vector * type.Bytes())
        {
            IsKernelParameter = isKernelParameter,
            IsExtern = isExtern,
            Initial = initial,
            Index = Symbols.Count,
        };
        Symbols.Add(symbol);
        _function?.Variables.Add(symbol);
        _scope.Symbols[name] = symbol;
        return symbol;
    }

    private byte[] ReadInitial(PtxType type)
    {
        List<byte> bytes = [];
        int depth = 0;
        do
        {
            if (TryTake("{"))
                depth++;
            else if (TryTake("}"))
                depth--;
            else if (!TryTake(","))
            {
                Operand value = _operands.Read();
                if (value.Kind != OperandKind.Immediate)
                    throw Error("an initialiser holds numbers only");
                bytes.AddRange(BitConverter.GetBytes(Immediates.Bits(value, type))[..type.Bytes()]);
            }
        }
        while (depth > 0);
        return [.. bytes];
    }

    private void ReadBody()
    {
        FunctionText function = _function!;
        int depth = 1;
        while (depth > 0)
        {
            string word = Peek();
            if (TryTake("{"))
            {
                depth++;
                _scope = new Scope(_scope);
            }
            else if (TryTake("}"))
            {
                depth--;
                _scope = _scope.Parent!;
            }
            else if (TryTake(";"))
                continue;
            else if (word == ".reg")
                ReadRegisters();
            else if (word == ".pragma")
                SkipStatement();
            else if (SpaceOf(word) is Space space)
            {
                Next();
                ReadVariables(space, isExtern: false);
            }
            else if (word is ".extern" or ".visible")
                ReadDeclaration();
            else if (PeekAt(1) == ":")
            {
                Next();
                Next();
                if (Peek() is ".branchtargets")
                    ReadBranchTargets(word);
                else if (!_scope.Labels.TryAdd(word, function.Body.Count))
                    throw Error($"the label {word} stands twice");
            }
            else
                ReadInstruction(function);
        }
    }

    private void ReadBranchTargets(string label)
    {
        Next();
        List<string> targets = [Next()];
        while (TryTake(","))
            targets.Add(Next());
        Expect(";");
        _scope.BranchTargets[label] = [.. targets];
    }

    private void ReadRegisters()
    {
        Next();
        string type = Next()[1..];
        if (type is "v2" or "v4" || !PtxTypes.TryParse(type, out PtxType parsed))
            throw Error($"registers of type .{type} are not supported");
        do
        {
            string name = Next();
            if (TryTake("<"))
            {
                int count = Integer();
                Expect(">");
                for (int i = 0; i < count; i++)
                    AddRegister(name + i.ToString(CultureInfo.InvariantCulture), parsed);
            }
            else
                AddRegister(name, parsed);
        }
        while (TryTake(","));
        Expect(";");
    }

    private void AddRegister(string name, PtxType type)
    {
        int index = type == PtxType.Pred ? PredicateCount++ : RegisterCount++;
        if (!_scope.Registers.TryAdd(name, new Register(name, type, index)))
            throw Error($"the register {name} is declared twice in one scope");
    }

    private void ReadInstruction(FunctionText function)
    {
        int line = Line, first = _at;
        Operand? guard = null;
        if (TryTake("@"))
        {
            bool negated = TryTake("!");
            string name = Next();
            Register register = _scope.Find(scope => scope.Registers, name) ?? throw Error($"the predicate {name} is not declared");
            if (register.Type != PtxType.Pred)
                throw Error($"{name} is no predicate");
            guard = new Operand(OperandKind.Register) { Register = register, Negated = negated };
        }
        string opcode = Next();
        List<Operand> operands = [];
        while (!TryTake(";"))
        {
            operands.Add(_operands.Read());
            if (!TryTake(",") && Peek() != ";")
                throw Error($"'{Peek()}' where , or ; is due");
        }
        function.Body.Add(new Instruction(line, TextOf(first, _at - 1), guard, opcode, [.. operands]));
    }

    /// <summary>The tokens as one would write them.</summary>
    private string TextOf(int first, int end)
    {
        System.Text.StringBuilder text = new();
        for (int i = first; i < end; i++)
        {
            bool opens = i > first && _tokens[i - 1].Text is "[" or "{" or "(" or "@" or "!" or "+" or "-" or "|";
            if (i > first && !opens && _tokens[i].Text is not ("," or "]" or "}" or ")" or "+" or "|"))
                text.Append(' ');
            text.Append(_tokens[i].Text);
        }
        return text.ToString();
    }

    private static Space? SpaceOf(string word) => word switch
    {
        ".global" => Space.Global,
        ".shared" => Space.Shared,
        ".local" => Space.Local,
        ".param" => Space.Param,
        ".const" => Space.Const,
        _ => null,
    };

    private void SkipStatement()
    {
        while (Next() != ";")
        {
        }
    }

    private void SkipBraces()
    {
        while (Next() != "{")
        {
        }
        for (int depth = 1; depth > 0;)
            depth += Next() switch { "{" => 1, "}" => -1, _ => 0 };
    }

    private string NextAfter(string directive)
    {
        Expect(directive);
        return Next();
    }

    public int Line => _at < _tokens.Count ? _tokens[_at].Line : _tokens.Count == 0 ? 1 : _tokens[^1].Line;

    public string Peek() => PeekAt(0);

    public string PeekAt(int ahead) => _at + ahead < _tokens.Count ? _tokens[_at + ahead].Text : "";

    public string Next() => _at < _tokens.Count ? _tokens[_at++].Text : throw Error("the text ends too early");

    public bool TryTake(string text)
    {
        if (Peek() != text)
            return false;
        _at++;
        return true;
    }

    public void Expect(string text)
    {
        if (!TryTake(text))
            throw Error($"'{Peek()}' where '{text}' is due");
    }

    private int Integer() => (int)Immediates.Integer(Next());

    public PtxException Error(string what) => new(PtxFault.Syntax, $"line {Line}: {what}.");
}
