using System.Numerics;
using TpServe.ChatTemplates.Evaluation;

namespace TpServe.ChatTemplates.Values;

/// <summary>Walking, measuring and slicing what Python can iterate.</summary>
internal static class Iteration
{
    /// <summary>The elements of a value, made as they are asked for; a type error at once where there are none to walk.</summary>
    public static IEnumerable<Value> Of(RenderState state, Value value) => value switch
    {
        SequenceValue sequence => sequence.Items,
        StringValue text => Characters(state, text),
        DictValue dict => dict.Entries.Select(entry => entry.Key),
        DictViewValue view => view.Items(),
        RangeValue range => Enumerable.Range(0, range.Count).Select(range.At),
        IteratorValue iterator => iterator.Remaining(),
        UndefinedValue => [],
        _ => throw Fault.Type($"'{value.TypeName}' object is not iterable"),
    };

    public static bool IsIterable(Value value) =>
        value is SequenceValue or StringValue or DictValue or DictViewValue or RangeValue or IteratorValue or UndefinedValue or LoopValue;

    /// <summary>All elements, charged one by one.</summary>
    public static Value[] ToArray(RenderState state, Value value)
    {
        List<Value> items = [];
        foreach (Value item in Of(state, value))
        {
            state.Step();
            items.Add(item);
        }
        return [.. items];
    }

    /// <summary>Python's len(), or null where the type has none.</summary>
    public static int? Length(Value value) => value switch
    {
        StringValue text => text.Length,
        SequenceValue sequence => sequence.Items.Length,
        DictValue dict => dict.Count,
        DictViewValue view => view.Dict.Count,
        RangeValue range => range.Count,
        LoopValue loop => loop.Length,
        UndefinedValue => 0,
        _ => null,
    };

    /// <summary>value[index], or null where the index is outside; negative indices count from the end.</summary>
    public static Value? ElementAt(Value value, BigInteger index)
    {
        int length = Length(value)!.Value;
        if (index < 0)
            index += length;
        if (index < 0 || index >= length)
            return null;
        int position = (int)index;
        return value switch
        {
            StringValue text => text.SliceCodePoints(position, position + 1),
            SequenceValue sequence => sequence.Items[position],
            RangeValue range => range.At(position),
            _ => null,
        };
    }

    /// <summary>value[start:stop:step] with Python's rules for absent, negative and outlying bounds.</summary>
    public static Value Slice(RenderState state, Value value, Value? start, Value? stop, Value? step)
    {
        if (value is UndefinedValue undefined)
            throw undefined.Fail();
        if (value is DictValue)
            throw Fault.Type("unhashable type: 'slice'");
        if (value is not (StringValue or SequenceValue or RangeValue))
            throw Fault.Type($"'{value.TypeName}' object is not subscriptable");
        int length = Length(value)!.Value;
        BigInteger stride = Bound(step) ?? BigInteger.One;
        if (stride.IsZero)
            throw Fault.Value("slice step cannot be zero");
        bool forward = stride.Sign > 0;
        int first = Clamp(Bound(start), length, forward, forward ? 0 : length - 1);
        int last = Clamp(Bound(stop), length, forward, forward ? length : -1);
        int count = forward ? (last > first ? (int)((last - first - 1) / stride) + 1 : 0) : (first > last ? (int)((first - last - 1) / -stride) + 1 : 0);
        state.Charge(value is StringValue && stride.IsOne ? 1 : count);
        switch (value)
        {
            case StringValue text when stride.IsOne:
                state.ChargeText(0, count);
                return text.SliceCodePoints(first, first + count);
            case StringValue text:
                StringAssembler assembler = new(state);
                for (int i = 0; i < count; i++)
                {
                    int at = text.Offset(first + (int)stride * i);
                    assembler.Append(text, at, text.Offset(first + (int)stride * i + 1) - at);
                }
                return assembler.ToValue().AsMarkup(text.IsMarkup);
            case SequenceValue sequence:
                Value[] items = new Value[count];
                for (int i = 0; i < count; i++)
                    items[i] = sequence.Items[first + (int)stride * i];
                return sequence is ListValue ? new ListValue(items) : new TupleValue(items);
            default:
                RangeValue range = (RangeValue)value;
                return new RangeValue(range.Start + range.Step * first, range.Start + range.Step * last, range.Step * stride, count);
        }
    }

    private static BigInteger? Bound(Value? bound)
    {
        if (bound is null or NoneValue)
            return null;
        if (bound is UndefinedValue || !bound.TryInteger(out BigInteger integer))
            throw Fault.Type("slice indices must be integers or None or have an __index__ method");
        return integer;
    }

    private static int Clamp(BigInteger? bound, int length, bool forward, int absent)
    {
        if (bound is not { } index)
            return absent;
        if (index < 0)
            index += length;
        if (index < 0)
            return forward ? 0 : -1;
        return index >= length ? (forward ? length : length - 1) : (int)index;
    }

    private static IEnumerable<Value> Characters(RenderState state, StringValue text)
    {
        int length = text.Length;
        for (int i = 0; i < length; i++)
        {
            state.Step();
            yield return text.SliceCodePoints(i, i + 1).AsMarkup(false);
        }
    }
}
