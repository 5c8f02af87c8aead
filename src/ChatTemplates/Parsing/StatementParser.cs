using TpServe.ChatTemplates.Lexing;
using TpServe.ChatTemplates.Tree;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Parsing;

/// <summary>Parses a template's text, tags and bodies.</summary>
internal sealed class StatementParser
{
    private readonly TokenReader _tokens;
    private readonly UnknownNames _unknown = new();
    private readonly ExpressionParser _expressions;
    private readonly AssignTargetParser _targets;
    private int _loops;

    private StatementParser(List<Token> tokens)
    {
        _tokens = new TokenReader(tokens);
        _expressions = new ExpressionParser(_tokens, _unknown);
        _targets = new AssignTargetParser(_tokens);
    }

    /// <summary>The tree of a template.</summary>
    public static Statement[] Parse(string template)
    {
        StatementParser parser = new(TemplateLexer.Tokenize(template));
        Statement[] body = parser.ParseBody();
        parser._unknown.Check();
        return body;
    }

    /// <summary>Text and tags up to a tag of one of the names, which stays current; without names up to the end.</summary>
    private Statement[] ParseBody(params ReadOnlySpan<string> endTags)
    {
        _tokens.Enter();
        List<Statement> body = [];
        while (true)
        {
            Token token = _tokens.Take();
            switch (token.Kind)
            {
                case TokenKind.Data:
                    body.Add(new TextStatement(StringValue.Template(token.Text), token.Line));
                    break;
                case TokenKind.PrintBegin:
                    body.Add(new PrintStatement(_expressions.ParseTuple(), token.Line));
                    _tokens.Expect(TokenKind.PrintEnd, "end of print statement");
                    break;
                case TokenKind.TagBegin:
                    if (_tokens.Current.Kind == TokenKind.Name && endTags.Contains(_tokens.Current.Text))
                    {
                        _tokens.Leave();
                        return [.. body];
                    }
                    body.AddRange(ParseTag());
                    _tokens.Expect(TokenKind.TagEnd, "end of statement block");
                    break;
                case TokenKind.End when endTags.IsEmpty:
                    _tokens.Leave();
                    return [.. body];
                default:
                    throw _tokens.Fail(endTags.IsEmpty
                        ? $"unexpected {token.Describe()}"
                        : $"unexpected end of template, looking for '{string.Join("' or '", endTags!)}'", token.Line);
            }
        }
    }

    /// <summary>The body of the tag just read: its closing mark, then everything up to an end tag.</summary>
    private Statement[] ParseTagBody(params ReadOnlySpan<string> endTags)
    {
        _tokens.TryTakeOperator(":");
        _tokens.Expect(TokenKind.TagEnd, "end of statement block");
        return ParseBody(endTags);
    }

    /// <summary>A body in a scope of its own, in which an unknown filter is a fault even below an if; the end tag's name is taken.</summary>
    private Statement[] ParseScopedBody(string endTag)
    {
        int mark = _unknown.Mark;
        Statement[] body = ParseTagBody(endTag);
        _unknown.Enforce(mark);
        _tokens.Take();
        return body;
    }

    /// <summary>A body that becomes a function, so that a break inside cannot end a loop outside.</summary>
    private Statement[] ParseFunctionBody(string endTag)
    {
        int loops = _loops;
        _loops = 0;
        Statement[] body = ParseScopedBody(endTag);
        _loops = loops;
        return body;
    }

    private IEnumerable<Statement> ParseTag()
    {
        Token tag = _tokens.Expect(TokenKind.Name, "tag name");
        int line = tag.Line;
        switch (tag.Text)
        {
            case "if":
                return [ParseIf(line)];
            case "for":
                return [ParseFor(line)];
            case "set":
                return [ParseSet(line)];
            case "print":
                return ParsePrint(line);
            case "macro":
                string name = _tokens.Expect(TokenKind.Name, "macro name").Text;
                return [new MacroStatement(ParseMacro(name, "endmacro", ParseParameters()), line)];
            case "call":
                return [ParseCall(line)];
            case "filter":
                int mark = _unknown.Mark;
                FilterCall[] filters = _expressions.ParseFilters(firstWithoutPipe: true);
                _unknown.Enforce(mark);
                return [new FilterBlockStatement(filters, ParseScopedBody("endfilter"), line)];
            case "with":
                return [ParseWith(line)];
            case "generation":
                return [new ScopeStatement(ParseFunctionBody("endgeneration"), line)];
            case "autoescape":
                if (_expressions.Parse() is not ConstantExpression { Value.IsTrue: false })
                    throw _tokens.Fail("autoescape can only be false here: a prompt is not HTML", line);
                return [new ScopeStatement(ParseScopedBody("endautoescape"), line)];
            case "block":
                return [ParseBlock(line)];
            case "break" or "continue":
                if (_loops == 0)
                    throw _tokens.Fail($"'{tag.Text}' outside loop", line);
                return [tag.Text == "break" ? new BreakStatement(line) : new ContinueStatement(line)];
            case "include" or "import" or "from" or "extends":
                return [ParseLoad(tag)];
            default:
                throw _tokens.Fail($"Encountered unknown tag '{tag.Text}'.", line);
        }
    }

    private IfStatement ParseIf(int line)
    {
        int mark = _unknown.Mark;
        List<KeyValuePair<Expression, Statement[]>> branches = [];
        Statement[] otherwise = [];
        do
        {
            Expression test = _expressions.ParseTuple(withConditional: false);
            branches.Add(new(test, ParseTagBody("elif", "else", "endif")));
        }
        while (_tokens.TryTakeName("elif"));
        if (_tokens.TryTakeName("else"))
            otherwise = ParseTagBody("endif");
        _tokens.ExpectName("endif");
        _unknown.Forgive(mark);
        return new IfStatement([.. branches], otherwise, line);
    }

    private ForStatement ParseFor(int line)
    {
        AssignTarget target = _targets.Parse(endName: "in");
        _targets.RequireNoLoopVariable(target, line);
        _tokens.ExpectName("in");
        Expression items = _expressions.ParseTuple(withConditional: false, endName: "recursive");
        int mark = _unknown.Mark;
        Expression? test = _tokens.TryTakeName("if") ? _expressions.Parse() : null;
        bool isRecursive = _tokens.TryTakeName("recursive");
        _loops++;
        Statement[] body = ParseTagBody("endfor", "else");
        _loops--;
        Statement[] otherwise = [];
        if (_tokens.TryTakeName("else"))
            otherwise = ParseTagBody("endfor");
        _tokens.ExpectName("endfor");
        _unknown.Enforce(mark);
        return new ForStatement(target, items, test, isRecursive, body, otherwise, line);
    }

    private Statement ParseSet(int line)
    {
        AssignTarget target = _targets.Parse(withNamespace: true);
        if (_tokens.TryTakeOperator("="))
            return new SetStatement(target, _expressions.ParseTuple(), line);
        int mark = _unknown.Mark;
        FilterCall[] filters = _expressions.ParseFilters();
        _unknown.Enforce(mark);
        return new SetBlockStatement(target, filters, ParseScopedBody("endset"), line);
    }

    private List<PrintStatement> ParsePrint(int line)
    {
        List<PrintStatement> printed = [];
        while (_tokens.Current.Kind != TokenKind.TagEnd)
        {
            if (printed.Count > 0)
                _tokens.ExpectOperator(",");
            printed.Add(new PrintStatement(_expressions.Parse(), line));
        }
        return printed;
    }

    private KeyValuePair<string, Expression?>[] ParseParameters()
    {
        List<KeyValuePair<string, Expression?>> parameters = [];
        _tokens.ExpectOperator("(");
        while (!_tokens.TryTakeOperator(")"))
        {
            if (parameters.Count > 0)
                _tokens.ExpectOperator(",");
            string name = _targets.ParseName();
            Expression? byDefault = _tokens.TryTakeOperator("=") ? _expressions.Parse() : null;
            if (byDefault is null && parameters.Count > 0 && parameters[^1].Value is not null)
                throw _tokens.Fail("non-default argument follows default argument");
            if (parameters.Exists(parameter => parameter.Key == name))
                throw _tokens.Fail($"duplicate argument '{name}'");
            parameters.Add(new(name, byDefault));
        }
        return [.. parameters];
    }

    private MacroDefinition ParseMacro(string name, string endTag, KeyValuePair<string, Expression?>[] parameters)
    {
        int namesBefore = _expressions.NamesRead.Count;
        Statement[] body = ParseFunctionBody(endTag);
        List<string> read = _expressions.NamesRead[namesBefore..];
        bool usesCaller = read.Contains("caller");
        if (usesCaller && parameters.Any(static parameter => parameter is { Key: "caller", Value: null }))
            throw _tokens.Fail("the special 'caller' argument must be omitted or be given a default");
        return new MacroDefinition(
            name, parameters, body, usesCaller, Uses("varargs"), Uses("kwargs"));

        bool Uses(string special) => read.Contains(special) && !parameters.Any(parameter => parameter.Key == special);
    }

    private CallBlockStatement ParseCall(int line)
    {
        KeyValuePair<string, Expression?>[] parameters = _tokens.Current.IsOperator("(") ? ParseParameters() : [];
        if (_expressions.Parse() is not CallExpression call)
            throw _tokens.Fail("expected call", line);
        return new CallBlockStatement(call, ParseMacro("caller", "endcall", parameters), line);
    }

    private WithStatement ParseWith(int line)
    {
        List<KeyValuePair<AssignTarget, Expression>> variables = [];
        while (_tokens.Current.Kind != TokenKind.TagEnd)
        {
            if (variables.Count > 0)
                _tokens.ExpectOperator(",");
            AssignTarget target = _targets.Parse();
            _tokens.ExpectOperator("=");
            variables.Add(new(target, _expressions.Parse()));
        }
        return new WithStatement([.. variables], ParseScopedBody("endwith"), line);
    }

    private BlockStatement ParseBlock(int line)
    {
        string name = _tokens.Expect(TokenKind.Name, "block name").Text;
        bool isScoped = _tokens.TryTakeName("scoped");
        Statement[] body = ParseFunctionBody("endblock");
        _tokens.TryTakeName(name);
        return new BlockStatement(isScoped, body, line);
    }

    private LoadStatement ParseLoad(Token tag)
    {
        while (_tokens.Current.Kind is not (TokenKind.TagEnd or TokenKind.End))
            _tokens.Take();
        return new LoadStatement(tag.Text, tag.Line);
    }
}
