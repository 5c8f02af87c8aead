using System.Globalization;
using System.Numerics;
using System.Text;
using TpServe.ChatTemplates.Evaluation;
using TpServe.ChatTemplates.Filters;
using TpServe.ChatTemplates.Lexing;
using TpServe.ChatTemplates.Tree;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Parsing;

/// <summary>Parses expressions by recursive descent, one method a level of precedence.</summary>
/// <remarks>
/// From loosest to tightest: if-else, or, and, not, comparison, + -, ~, * / // %, ** (left to right), signs, then attributes, calls, filters and tests.
/// A sign binds before ** and before a filter: -2 ** 2 is 4 and -1|abs is 1.
/// </remarks>
internal sealed class ExpressionParser(TokenReader tokens, UnknownNames unknown)
{
    private static readonly Dictionary<string, CompareOperator> s_comparisons = new(StringComparer.Ordinal)
    {
        ["=="] = CompareOperator.Equal,
        ["!="] = CompareOperator.NotEqual,
        ["<"] = CompareOperator.Less,
        ["<="] = CompareOperator.LessOrEqual,
        [">"] = CompareOperator.Greater,
        [">="] = CompareOperator.GreaterOrEqual,
    };

    /// <summary>Every name read so far, in order; a macro's body is looked through for the special ones.</summary>
    public List<string> NamesRead { get; } = [];

    public Expression Parse(bool withConditional = true)
    {
        tokens.Enter();
        Expression parsed = withConditional ? ParseConditional() : ParseOr();
        tokens.Leave();
        return parsed;
    }

    /// <summary>An expression, or a tuple of expressions without parentheses.</summary>
    public Expression ParseTuple(bool withConditional = true, bool inParentheses = false, string? endName = null)
    {
        List<Expression> items = [];
        bool isTuple = false;
        while (true)
        {
            if (items.Count > 0)
                tokens.ExpectOperator(",");
            if (IsTupleEnd(endName))
                break;
            items.Add(Parse(withConditional));
            if (!tokens.Current.IsOperator(","))
                break;
            isTuple = true;
        }
        if (isTuple)
            return new TupleExpression([.. items]);
        if (items.Count > 0)
            return items[0];
        return inParentheses ? new TupleExpression([]) : throw tokens.Fail($"expected an expression, got {tokens.Current.Describe()}");
    }

    /// <summary>Filters after a pipe, or one first filter without it.</summary>
    public FilterCall[] ParseFilters(bool firstWithoutPipe = false)
    {
        List<FilterCall> filters = [];
        while (firstWithoutPipe || tokens.Current.IsOperator("|"))
        {
            if (!firstWithoutPipe)
                tokens.Take();
            firstWithoutPipe = false;
            int line = tokens.Current.Line;
            string name = DottedName("filter name");
            CallArguments arguments = tokens.Current.IsOperator("(") ? ParseArguments() : CallArguments.None;
            NativeFunction? function = FilterTable.Find(name);
            if (function is null)
                unknown.Add("filter", name, line);
            filters.Add(new FilterCall(name, function, arguments));
        }
        return [.. filters];
    }

    /// <summary>A name, literal or bracketed expression.</summary>
    public Expression ParsePrimary()
    {
        Token token = tokens.Current;
        switch (token.Kind)
        {
            case TokenKind.Name:
                tokens.Take();
                return token.Text switch
                {
                    "true" or "True" => new ConstantExpression(BoolValue.True),
                    "false" or "False" => new ConstantExpression(BoolValue.False),
                    "none" or "None" => new ConstantExpression(NoneValue.Instance),
                    _ => ReadName(token.Text),
                };
            case TokenKind.String:
                StringBuilder text = new();
                while (tokens.Current.Kind == TokenKind.String)
                    text.Append(tokens.Take().Text);
                return new ConstantExpression(StringValue.Template(text.ToString()));
            case TokenKind.Integer:
                tokens.Take();
                return PythonNumbers.TryParseInteger(token.Text, 0, out BigInteger integer)
                    ? new ConstantExpression(new IntValue(integer))
                    : throw tokens.Fail("integer literal too large", token.Line);
            case TokenKind.Float:
                tokens.Take();
                return new ConstantExpression(new FloatValue(double.Parse(token.Text, CultureInfo.InvariantCulture)));
            case TokenKind.Operator when token.Text == "(":
                tokens.Take();
                Expression inner = ParseTuple(inParentheses: true);
                tokens.ExpectOperator(")");
                return inner;
            case TokenKind.Operator when token.Text == "[":
                tokens.Take();
                return new ListExpression([.. ParseItems("]", () => Parse())]);
            case TokenKind.Operator when token.Text == "{":
                tokens.Take();
                return new DictExpression([.. ParseItems("}", ParseEntry)]);
            default:
                throw tokens.Fail($"unexpected {token.Describe()}");
        }
    }

    private NameExpression ReadName(string name)
    {
        NamesRead.Add(name);
        return new NameExpression(name);
    }

    private bool IsTupleEnd(string? endName) =>
        tokens.Current.Kind is TokenKind.PrintEnd or TokenKind.TagEnd || tokens.Current.IsOperator(")") || (endName is not null && tokens.Current.IsName(endName));

    private KeyValuePair<Expression, Expression> ParseEntry()
    {
        Expression key = Parse();
        tokens.ExpectOperator(":");
        return new(key, Parse());
    }

    private List<T> ParseItems<T>(string close, Func<T> parse)
    {
        List<T> items = [];
        while (!tokens.TryTakeOperator(close))
        {
            if (items.Count > 0)
            {
                tokens.ExpectOperator(",");
                if (tokens.TryTakeOperator(close))
                    break;
            }
            items.Add(parse());
        }
        return items;
    }

    private Expression ParseConditional()
    {
        int mark = unknown.Mark;
        Expression value = ParseOr();
        while (tokens.TryTakeName("if"))
        {
            Expression test = ParseOr();
            Expression? otherwise = null;
            if (tokens.TryTakeName("else"))
            {
                tokens.Enter();
                otherwise = ParseConditional();
                tokens.Leave();
            }
            value = new ConditionalExpression(test, value, otherwise);
            unknown.Forgive(mark);
        }
        return value;
    }

    private Expression ParseOr()
    {
        Expression left = ParseAnd();
        while (tokens.TryTakeName("or"))
            left = new BinaryExpression(BinaryOperator.Or, left, ParseAnd());
        return left;
    }

    private Expression ParseAnd()
    {
        Expression left = ParseNot();
        while (tokens.TryTakeName("and"))
            left = new BinaryExpression(BinaryOperator.And, left, ParseNot());
        return left;
    }

    private Expression ParseNot()
    {
        if (!tokens.TryTakeName("not"))
            return ParseComparison();
        tokens.Enter();
        UnaryExpression not = new(UnaryOperator.Not, ParseNot());
        tokens.Leave();
        return not;
    }

    private Expression ParseComparison()
    {
        Expression first = ParseSum();
        List<KeyValuePair<CompareOperator, Expression>> rest = [];
        while (true)
        {
            if (tokens.Current.Kind == TokenKind.Operator && s_comparisons.TryGetValue(tokens.Current.Text, out CompareOperator op))
                tokens.Take();
            else if (tokens.TryTakeName("in"))
                op = CompareOperator.In;
            else if (tokens.Current.IsName("not") && tokens.Following.IsName("in"))
                (op, _, _) = (CompareOperator.NotIn, tokens.Take(), tokens.Take());
            else
                break;
            rest.Add(new(op, ParseSum()));
        }
        return rest.Count == 0 ? first : new CompareExpression(first, [.. rest]);
    }

    private Expression ParseSum()
    {
        Expression left = ParseConcat();
        while (tokens.Current.IsOperator("+") || tokens.Current.IsOperator("-"))
            left = new BinaryExpression(tokens.Take().Text == "+" ? BinaryOperator.Add : BinaryOperator.Subtract, left, ParseConcat());
        return left;
    }

    private Expression ParseConcat()
    {
        List<Expression> parts = [ParseProduct()];
        while (tokens.TryTakeOperator("~"))
            parts.Add(ParseProduct());
        return parts.Count == 1 ? parts[0] : new ConcatExpression([.. parts]);
    }

    private Expression ParseProduct()
    {
        Expression left = ParsePower();
        while (tokens.Current.Kind == TokenKind.Operator && tokens.Current.Text is "*" or "/" or "//" or "%")
        {
            BinaryOperator op = tokens.Take().Text switch
            {
                "*" => BinaryOperator.Multiply,
                "/" => BinaryOperator.Divide,
                "//" => BinaryOperator.FloorDivide,
                _ => BinaryOperator.Modulo,
            };
            left = new BinaryExpression(op, left, ParsePower());
        }
        return left;
    }

    private Expression ParsePower()
    {
        Expression left = ParseUnary(true);
        while (tokens.TryTakeOperator("**"))
            left = new BinaryExpression(BinaryOperator.Power, left, ParseUnary(true));
        return left;
    }

    private Expression ParseUnary(bool withFilters)
    {
        Expression operand;
        if (tokens.Current.IsOperator("-") || tokens.Current.IsOperator("+"))
        {
            tokens.Enter();
            UnaryOperator sign = tokens.Take().Text == "-" ? UnaryOperator.Negate : UnaryOperator.Plus;
            operand = new UnaryExpression(sign, ParseUnary(false));
            tokens.Leave();
        }
        else
        {
            operand = ParsePrimary();
        }
        operand = ParsePostfix(operand);
        return withFilters ? ParseFiltersAndTests(operand) : operand;
    }

    private Expression ParsePostfix(Expression target)
    {
        while (true)
        {
            if (tokens.TryTakeOperator("."))
                target = ParseAttribute(target);
            else if (tokens.TryTakeOperator("["))
                target = ParseSubscript(target);
            else if (tokens.Current.IsOperator("("))
                target = new CallExpression(target, ParseArguments());
            else
                return target;
        }
    }

    private Expression ParseFiltersAndTests(Expression target)
    {
        while (true)
        {
            if (tokens.Current.IsOperator("|"))
                foreach (FilterCall filter in ParseFilters())
                    target = new FilterExpression(target, filter);
            else if (tokens.TryTakeName("is"))
                target = ParseTest(target);
            else if (tokens.Current.IsOperator("("))
                target = new CallExpression(target, ParseArguments());
            else
                return target;
        }
    }

    private Expression ParseAttribute(Expression target)
    {
        Token name = tokens.Take();
        if (name.Kind == TokenKind.Name)
            return new AttributeExpression(target, name.Text);
        if (name.Kind == TokenKind.Integer && PythonNumbers.TryParseInteger(name.Text, 0, out BigInteger index))
            return new SubscriptExpression(target, new ConstantExpression(new IntValue(index)));
        throw tokens.Fail("expected name or number", name.Line);
    }

    private SubscriptExpression ParseSubscript(Expression target)
    {
        List<Expression> keys = [];
        while (!tokens.TryTakeOperator("]"))
        {
            if (keys.Count > 0)
                tokens.ExpectOperator(",");
            keys.Add(ParseKey());
        }
        return new SubscriptExpression(target, keys.Count == 1 ? keys[0] : new TupleExpression([.. keys]));
    }

    private Expression ParseKey()
    {
        Expression? start = tokens.Current.IsOperator(":") ? null : Parse();
        if (!tokens.TryTakeOperator(":"))
            return start!;
        Expression? stop = IsKeyEnd() || tokens.Current.IsOperator(":") ? null : Parse();
        Expression? step = tokens.TryTakeOperator(":") && !IsKeyEnd() ? Parse() : null;
        return new SliceExpression(start, stop, step);
    }

    private bool IsKeyEnd() => tokens.Current.IsOperator("]") || tokens.Current.IsOperator(",");

    private CallArguments ParseArguments()
    {
        int line = tokens.Current.Line;
        tokens.ExpectOperator("(");
        List<Expression> positional = [];
        List<KeyValuePair<string, Expression>> named = [];
        Expression? unpacked = null, unpackedNamed = null;
        bool isFirst = true;
        while (!tokens.TryTakeOperator(")"))
        {
            if (!isFirst)
            {
                tokens.ExpectOperator(",");
                if (tokens.TryTakeOperator(")"))
                    break;
            }
            isFirst = false;
            bool fits = unpackedNamed is null;
            if (tokens.TryTakeOperator("*"))
            {
                fits &= unpacked is null;
                unpacked = Parse();
            }
            else if (tokens.TryTakeOperator("**"))
            {
                unpackedNamed = Parse();
            }
            else if (tokens.Current.Kind == TokenKind.Name && tokens.Following.IsOperator("="))
            {
                string name = tokens.Take().Text;
                tokens.Take();
                fits &= !named.Exists(argument => argument.Key == name);
                named.Add(new(name, Parse()));
            }
            else
            {
                fits &= unpacked is null && named.Count == 0;
                positional.Add(Parse());
            }
            if (!fits)
                throw tokens.Fail("invalid syntax for function call expression", line);
        }
        return new CallArguments([.. positional], [.. named], unpacked, unpackedNamed);
    }

    private Expression ParseTest(Expression target)
    {
        int line = tokens.Current.Line;
        bool negated = tokens.TryTakeName("not");
        string name = DottedName("test name");
        CallArguments arguments = CallArguments.None;
        Token next = tokens.Current;
        if (next.IsOperator("("))
        {
            arguments = ParseArguments();
        }
        else if (next.Kind is TokenKind.String or TokenKind.Integer or TokenKind.Float || next.IsOperator("[") || next.IsOperator("{") ||
            (next.Kind == TokenKind.Name && next.Text is not ("else" or "or" or "and")))
        {
            if (next.IsName("is"))
                throw tokens.Fail("You cannot chain multiple tests with is");
            tokens.Enter();
            arguments = new CallArguments([ParsePostfix(ParsePrimary())], [], null, null);
            tokens.Leave();
        }
        NativeFunction? function = TestTable.Find(name);
        if (function is null)
            unknown.Add("test", name, line);
        Expression test = new TestExpression(target, name, function, arguments);
        return negated ? new UnaryExpression(UnaryOperator.Not, test) : test;
    }

    private string DottedName(string what)
    {
        string name = tokens.Expect(TokenKind.Name, what).Text;
        while (tokens.TryTakeOperator("."))
            name += "." + tokens.Expect(TokenKind.Name, what).Text;
        return name;
    }
}
