using System.Globalization;
using System.Numerics;
using TpServe.ChatTemplates.Evaluation;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Methods;

/// <summary>Python's str.format, with the attribute and index access of its fields under the sandbox's rules.</summary>
internal sealed class BraceFormat
{
    private readonly RenderState _state;
    private readonly Arguments _arguments;
    private readonly bool _isMarkup;
    private int _nextAutomatic;
    private bool _isManual;

    private BraceFormat(RenderState state, Arguments arguments, bool isMarkup)
    {
        _state = state;
        _arguments = arguments;
        _isMarkup = isMarkup;
    }

    public static StringValue Apply(RenderState state, StringValue format, Arguments arguments) =>
        new BraceFormat(state, arguments, format.IsMarkup).Run(format, 2).AsMarkup(format.IsMarkup);

    private StringValue Run(StringValue format, int nesting)
    {
        if (nesting == 0)
            throw Fault.Value("Max string recursion exceeded");
        StringAssembler result = new(_state);
        string text = format.Text;
        for (int at = 0; at < text.Length;)
        {
            _state.Step();
            int brace = text.AsSpan(at).IndexOfAny('{', '}');
            int end = brace < 0 ? text.Length : at + brace;
            result.Append(format, at, end - at);
            if (brace < 0)
                break;
            if (end + 1 < text.Length && text[end + 1] == text[end])
            {
                result.Append(format, end, 1);
                at = end + 2;
                continue;
            }
            if (text[end] == '}')
                throw Fault.Value("Single '}' encountered in format string");
            int close = MatchingBrace(text, end);
            result.Append(Field(text[(end + 1)..close], nesting));
            at = close + 1;
        }
        return result.ToValue();
    }

    private static int MatchingBrace(string text, int open)
    {
        int depth = 0;
        for (int i = open; i < text.Length; i++)
        {
            depth += text[i] == '{' ? 1 : text[i] == '}' ? -1 : 0;
            if (depth == 0)
                return i;
        }
        throw Fault.Value(open + 1 == text.Length ? "Single '{' encountered in format string" : "expected '}' before end of string");
    }

    /// <summary>One replacement field: name, optional !conversion, optional :specification.</summary>
    private StringValue Field(string field, int nesting)
    {
        int bracket = 0, split = 0;
        for (; split < field.Length && (bracket > 0 || field[split] is not ('!' or ':')); split++)
            bracket += field[split] == '[' ? 1 : field[split] == ']' ? -1 : 0;
        string name = field[..split];
        char conversion = '\0';
        if (split < field.Length && field[split] == '!')
        {
            conversion = split + 1 < field.Length ? field[split + 1] : throw Fault.Value("end of string while looking for conversion specifier");
            split += 2;
            if (split < field.Length && field[split] != ':')
                throw Fault.Value("expected ':' after conversion specifier");
        }
        Value value = Lookup(name);
        string specification = split < field.Length ? field[(split + 1)..] : "";
        StringValue spec = specification.Contains('{', StringComparison.Ordinal) || specification.Contains('}', StringComparison.Ordinal)
            ? Run(StringValue.Template(specification), nesting - 1)
            : StringValue.Template(specification);
        value = conversion switch
        {
            '\0' => value,
            's' => PythonText.Str(_state, value),
            'r' or 'a' => PythonText.Repr(_state, value),
            _ => throw Fault.Value($"Unknown conversion specifier {conversion}"),
        };
        StringValue formatted = spec.Text.Length == 0 ? PythonText.Str(_state, value) : FormatSpec.Apply(_state, value, spec.Text);
        return _isMarkup ? MarkupText.Escape(_state, formatted.AsMarkup(value is StringValue { IsMarkup: true })) : formatted;
    }

    private Value Lookup(string name)
    {
        int end = name.AsSpan().IndexOfAny('.', '[');
        string first = end < 0 ? name : name[..end];
        Value value;
        if (first.Length == 0 || first.All(char.IsAsciiDigit))
        {
            if (first.Length > 0 ? _nextAutomatic > 0 : _isManual)
                throw Fault.Value("cannot switch between automatic field numbering and manual field specification");
            _isManual = first.Length > 0;
            int index = first.Length == 0 ? _nextAutomatic++ : int.TryParse(first, NumberStyles.None, CultureInfo.InvariantCulture, out int parsed) ? parsed : int.MaxValue;
            value = index < _arguments.Positional.Length
                ? _arguments.Positional[index]
                : throw Fault.Value($"Replacement index {first} out of range for positional args tuple");
        }
        else
        {
            value = _arguments.Named.FirstOrDefault(argument => argument.Key == first).Value ?? throw Fault.Value($"key '{first}' is missing");
        }
        for (int at = end < 0 ? name.Length : end; at < name.Length;)
        {
            _state.Step();
            if (name[at] == '.')
            {
                int stop = name.AsSpan(at + 1).IndexOfAny('.', '[');
                int next = stop < 0 ? name.Length : at + 1 + stop;
                value = next > at + 1 ? Attributes.Get(_state, value, name[(at + 1)..next]) : throw Fault.Value("Empty attribute in format string");
                at = next;
                continue;
            }
            int close = name.IndexOf(']', at);
            if (name[at] != '[' || close <= at + 1)
                throw Fault.Value("Missing ']' in format string");
            string key = name[(at + 1)..close];
            bool isIndex = key.All(char.IsAsciiDigit) && PythonNumbers.TryParseInteger(key, 10, out _);
            value = Attributes.GetItem(_state, value, isIndex ? new IntValue(BigInteger.Parse(key, CultureInfo.InvariantCulture)) : StringValue.Template(key));
            at = close + 1;
        }
        return value;
    }
}
