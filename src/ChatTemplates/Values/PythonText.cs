using System.Globalization;
using System.Text;
using TpServe.ChatTemplates.Evaluation;

namespace TpServe.ChatTemplates.Values;

/// <summary>Python's str() and repr(), and its idea of white space and of printable characters.</summary>
internal static class PythonText
{
    /// <summary>str.isspace for one character: Unicode white space and the four separators U+001C to U+001F.</summary>
    public static bool IsSpace(char c) => char.IsWhiteSpace(c) || c is >= '\x1c' and <= '\x1f';

    /// <summary>What str.splitlines takes for the end of a line.</summary>
    public static bool IsLineEnd(char c) => c is '\n' or '\r' or '\v' or '\f' or (>= '\x1c' and <= '\x1e') or '\x85' or '\u2028' or '\u2029';

    /// <summary>Text without its outer white space.</summary>
    public static ReadOnlySpan<char> Trim(ReadOnlySpan<char> text)
    {
        int start = 0, end = text.Length;
        while (start < end && IsSpace(text[start]))
            start++;
        while (end > start && IsSpace(text[end - 1]))
            end--;
        return text[start..end];
    }

    /// <summary>str(value): text as it is, everything else as Python prints it; the result counts as data if any text in it does.</summary>
    public static StringValue Str(RenderState state, Value value)
    {
        switch (value)
        {
            case StringValue text:
                return text;
            case UndefinedValue:
                return StringValue.Empty;
            default:
                Printer printer = new(state);
                printer.Write(value);
                return printer.ToValue();
        }
    }

    /// <summary>repr(value).</summary>
    public static StringValue Repr(RenderState state, Value value)
    {
        Printer printer = new(state);
        printer.Write(value);
        return printer.ToValue();
    }

    /// <summary>repr of a text, in the quotes that need fewer escapes.</summary>
    public static string Quote(string text)
    {
        StringBuilder quoted = new(text.Length + 2);
        char quote = text.Contains('\'', StringComparison.Ordinal) && !text.Contains('"', StringComparison.Ordinal) ? '"' : '\'';
        quoted.Append(quote);
        foreach (Rune rune in text.EnumerateRunes())
        {
            int code = rune.Value;
            if (code == quote || code == '\\')
                quoted.Append('\\').Append((char)code);
            else if (code is '\t' or '\n' or '\r')
                quoted.Append('\\').Append(code == '\t' ? 't' : code == '\n' ? 'n' : 'r');
            else if (IsPrintable(rune))
                quoted.Append(rune.ToString());
            else
                quoted.Append(Escape(rune));
        }
        return quoted.Append(quote).ToString();
    }

    /// <summary>The escape of a character that does not print: \x, \u or \U, as short as it fits.</summary>
    public static string Escape(Rune rune)
    {
        string hex = rune.Value.ToString("x8", CultureInfo.InvariantCulture);
        return rune.Value < 0x100 ? "\\x" + hex[6..] : rune.IsBmp ? "\\u" + hex[4..] : "\\U" + hex;
    }

    public static bool IsPrintable(Rune rune) => rune.Value == ' ' || Rune.GetUnicodeCategory(rune) is not (
        UnicodeCategory.Control or UnicodeCategory.Format or UnicodeCategory.Surrogate or UnicodeCategory.PrivateUse or
        UnicodeCategory.OtherNotAssigned or UnicodeCategory.LineSeparator or UnicodeCategory.ParagraphSeparator or UnicodeCategory.SpaceSeparator);

    /// <summary>Writes repr of a value, however deep, within the limits.</summary>
    private sealed class Printer(RenderState state)
    {
        private readonly StringBuilder _text = new();
        private bool _hasData;

        public StringValue ToValue() => StringValue.Of(_text.ToString(), _hasData);

        public void Write(Value value)
        {
            state.Enter();
            switch (value)
            {
                case StringValue text:
                    _hasData |= text.HasData;
                    Put(text.IsMarkup ? $"Markup({Quote(text.Text)})" : Quote(text.Text));
                    break;
                case NoneValue:
                    Put("None");
                    break;
                case BoolValue flag:
                    Put(flag.Flag ? "True" : "False");
                    break;
                case IntValue integer:
                    Put(integer.Number.ToString(CultureInfo.InvariantCulture));
                    break;
                case FloatValue number:
                    Put(PythonNumbers.Repr(number.Number));
                    break;
                case ListValue list:
                    WriteItems("[", list.Items, "]");
                    break;
                case TupleValue tuple:
                    WriteItems("(", tuple.Items, tuple.Items.Length == 1 ? ",)" : ")");
                    break;
                case DictValue dict:
                    WriteDict(dict);
                    break;
                case DictViewValue view:
                    WriteItems(view.TypeName + "([", view.Items(), "])");
                    break;
                case NamespaceValue space:
                    WriteNamespace(space);
                    break;
                case RangeValue range:
                    Put($"range({range.Start}, {range.Stop}{(range.Step.IsOne ? "" : $", {range.Step}")})");
                    break;
                case LoopValue loop:
                    Put($"<LoopContext {loop.Index0 + 1}/{loop.Length}>");
                    break;
                case MacroValue macro:
                    Put($"<Macro {Quote(macro.Name)}>");
                    break;
                case UndefinedValue:
                    Put("Undefined");
                    break;
                default:
                    Put($"<{value.TypeName} object>");
                    break;
            }
            state.Leave();
        }

        private void WriteItems(string open, IEnumerable<Value> items, string close)
        {
            Put(open);
            bool first = true;
            foreach (Value item in items)
            {
                if (!first)
                    Put(", ");
                first = false;
                Write(item);
            }
            Put(close);
        }

        private void WriteDict(DictValue dict)
        {
            Put("{");
            bool first = true;
            foreach ((Value key, Value item) in dict.Entries)
            {
                if (!first)
                    Put(", ");
                first = false;
                Write(key);
                Put(": ");
                Write(item);
            }
            Put("}");
        }

        private void WriteNamespace(NamespaceValue space)
        {
            Put("<Namespace {");
            bool first = true;
            foreach ((string name, Value item) in space.Attributes)
            {
                Put((first ? "" : ", ") + Quote(name) + ": ");
                first = false;
                Write(item);
            }
            Put("}>");
        }

        private void Put(string text)
        {
            state.Step();
            state.ChargeText(_text.Length + text.Length, text.Length);
            _text.Append(text);
        }
    }
}
