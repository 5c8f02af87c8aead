namespace TpServe.Ptx.Text;

/// <summary>Reads one operand.</summary>
internal sealed class OperandReader(Parser parser)
{
    public Operand Read()
    {
        Operand operand = ReadOne();
        return parser.TryTake("|") ? new Operand(OperandKind.Pair) { Items = [operand, ReadOne()] } : operand;
    }

    private Operand ReadOne()
    {
        if (parser.TryTake("{"))
            return new Operand(OperandKind.Vector) { Items = ReadItems("}") };
        if (parser.TryTake("("))
            return new Operand(OperandKind.List) { Items = ReadItems(")") };
        if (parser.TryTake("["))
            return ReadAddress();
        if (parser.TryTake("!"))
        {
            Operand inner = ReadName(parser.Next());
            return new Operand(inner.Kind) { Register = inner.Register, Negated = true };
        }
        bool negative = parser.TryTake("-");
        string word = parser.Next();
        if (char.IsAsciiDigit(word[0]))
            return Immediates.Read(word, negative);
        if (negative)
            throw parser.Error($"'-{word}' is no operand");
        Operand name = ReadName(word);
        if (name.Kind == OperandKind.Symbol && parser.Peek() is "+" or "-")
            return new Operand(OperandKind.Symbol) { Symbol = name.Symbol, Offset = ReadOffset() };
        return name;
    }

    private Operand[] ReadItems(string end)
    {
        List<Operand> items = [];
        while (!parser.TryTake(end))
        {
            items.Add(Read());
            parser.TryTake(",");
        }
        return [.. items];
    }

    private Operand ReadAddress()
    {
        string word = parser.Next();
        Operand start = char.IsAsciiDigit(word[0]) ? Immediates.Read(word, negative: false) : ReadName(word);
        if (start.Kind == OperandKind.Name)
            throw parser.Error($"'{word}' is not declared");
        long offset = parser.Peek() is "+" or "-" ? ReadOffset() : 0;
        parser.Expect("]");
        return new Operand(OperandKind.Address) { Register = start.Register, Symbol = start.Symbol, Bits = start.Bits, Offset = offset };
    }

    private long ReadOffset()
    {
        bool minus = false;
        while (parser.Peek() is "+" or "-")
            minus ^= parser.Next() == "-";
        long value = (long)Immediates.Integer(parser.Next());
        return minus ? -value : value;
    }

    private Operand ReadName(string word)
    {
        if (word == "_")
            return new Operand(OperandKind.Sink);
        if (parser.Scope.Find(scope => scope.Registers, word) is { } register)
            return new Operand(OperandKind.Register) { Register = register };
        if (parser.Scope.Find(scope => scope.Symbols, word) is { } symbol)
            return new Operand(OperandKind.Symbol) { Symbol = symbol };
        return word[0] == '%'
            ? new Operand(OperandKind.Special) { Name = word }
            : new Operand(OperandKind.Name) { Name = word, Scope = parser.Scope };
    }
}
