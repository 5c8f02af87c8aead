using System.Globalization;
using System.Text;
using TpServe.ChatTemplates.Evaluation;
using TpServe.ChatTemplates.Methods;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Filters;

/// <summary>tojson as transformers defines it: Python's json.dumps with ensure_ascii off.</summary>
internal sealed class JsonFilter
{
    private readonly RenderState _state;
    private readonly StringBuilder _text = new();
    private readonly bool _ascii;
    private readonly bool _sortKeys;
    private readonly string? _indent;
    private readonly string _itemSeparator;
    private readonly string _keySeparator;
    private bool _hasData;
    private int _level;

    private JsonFilter(RenderState state, Value?[] bound)
    {
        _state = state;
        _ascii = bound[1]?.IsTrue ?? false;
        _sortKeys = bound[4]?.IsTrue ?? false;
        if (bound[2] is StringValue indent)
            (_indent, _hasData) = (indent.Text, indent.HasData);
        else if (bound[2] is not (null or NoneValue))
            _indent = new StringAssembler(state).AppendRepeated(StringValue.Template(" "), bound[2]!.RequireInt32()).ToValue().Text;
        _itemSeparator = _indent is null ? ", " : ",";
        _keySeparator = ": ";
        if (bound[3] is null or NoneValue)
            return;
        Value[] separators = Iteration.ToArray(state, bound[3]!);
        if (separators.Length != 2)
            throw Fault.Value($"expected 2 separators, got {separators.Length}");
        _itemSeparator = StringMethods.RequireText(separators[0]).Text;
        _keySeparator = StringMethods.RequireText(separators[1]).Text;
        _hasData |= separators.Any(separator => ((StringValue)separator).HasData);
    }

    /// <summary>value|tojson(ensure_ascii, indent, separators, sort_keys).</summary>
    public static Value ToJson(RenderState state, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("tojson", 1, "x", "ensure_ascii", "indent", "separators", "sort_keys");
        JsonFilter json = new(state, bound);
        json.Write(bound[0]!);
        return StringValue.Of(json._text.ToString(), json._hasData);
    }

    private void Write(Value value)
    {
        _state.Enter();
        switch (value)
        {
            case StringValue text:
                WriteText(text);
                break;
            case NoneValue:
                Put("null");
                break;
            case BoolValue flag:
                Put(flag.Flag ? "true" : "false");
                break;
            case IntValue or FloatValue:
                Put(Number(value));
                break;
            case SequenceValue sequence:
                WriteContainer('[', sequence.Items, Write, ']');
                break;
            case DictValue dict:
                WriteContainer('{', _sortKeys ? SortedEntries(dict) : dict.Entries, WriteEntry, '}');
                break;
            default:
                throw Fault.Type($"Object of type {value.TypeName} is not JSON serializable");
        }
        _state.Leave();
    }

    private void WriteContainer<T>(char open, IReadOnlyList<T> items, Action<T> write, char close)
    {
        Put(open.ToString());
        _level++;
        for (int i = 0; i < items.Count; i++)
        {
            if (i > 0)
                Put(_itemSeparator);
            NewLine();
            write(items[i]);
        }
        _level--;
        if (items.Count > 0)
            NewLine();
        Put(close.ToString());
    }

    private void WriteEntry(KeyValuePair<Value, Value> entry)
    {
        switch (entry.Key)
        {
            case StringValue text:
                WriteText(text);
                break;
            case NoneValue:
                Put("\"null\"");
                break;
            case BoolValue flag:
                Put(flag.Flag ? "\"true\"" : "\"false\"");
                break;
            case IntValue or FloatValue:
                Put($"\"{Number(entry.Key)}\"");
                break;
            default:
                throw Fault.Type($"keys must be str, int, float, bool or None, not {entry.Key.TypeName}");
        }
        Put(_keySeparator);
        Write(entry.Value);
    }

    private KeyValuePair<Value, Value>[] SortedEntries(DictValue dict)
    {
        ListValue items = (ListValue)OrderFilters.DictSort(_state, new Arguments([dict, BoolValue.True]));
        return [.. items.Items.Select(item => new KeyValuePair<Value, Value>(((TupleValue)item).Items[0], ((TupleValue)item).Items[1]))];
    }

    private static string Number(Value value)
    {
        if (value is not FloatValue { Number: double number })
            return value.RequireInteger().ToString(CultureInfo.InvariantCulture);
        return double.IsFinite(number) ? PythonNumbers.Repr(number) : double.IsNaN(number) ? "NaN" : number > 0 ? "Infinity" : "-Infinity";
    }

    private void WriteText(StringValue value)
    {
        _hasData |= value.HasData;
        string text = value.Text;
        _state.ChargeText((long)_text.Length + text.Length, text.Length);
        _text.Append('"');
        int from = 0;
        for (int i = 0; i < text.Length; i++)
        {
            char c = text[i];
            if (c >= ' ' && c is not ('"' or '\\') && (c < '\x7f' || !_ascii || c == '\x7f'))
                continue;
            _text.Append(text, from, i - from);
            from = i + 1;
            int known = "\"\\\n\r\t\b\f".IndexOf(c, StringComparison.Ordinal);
            if (known >= 0)
                _text.Append('\\').Append("\"\\nrtbf"[known]);
            else
                _text.Append(CultureInfo.InvariantCulture, $"\\u{(int)c:x4}");
        }
        _text.Append(text, from, text.Length - from).Append('"');
    }

    private void NewLine()
    {
        if (_indent is null)
            return;
        Put("\n");
        for (int i = 0; i < _level; i++)
            Put(_indent);
    }

    private void Put(string text)
    {
        _state.Step();
        _state.ChargeText((long)_text.Length + text.Length, text.Length);
        _text.Append(text);
    }
}
