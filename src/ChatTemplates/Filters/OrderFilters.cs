using TpServe.ChatTemplates.Evaluation;
using TpServe.ChatTemplates.Methods;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Filters;

/// <summary>The filters that compare elements; unless case_sensitive is given, text is compared in lower case.</summary>
internal static class OrderFilters
{
    public static Value Sort(RenderState state, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("sort", 1, "value", "reverse", "case_sensitive", "attribute");
        bool exact = bound[2]?.IsTrue ?? false;
        Value[][] paths = bound[3] is StringValue text
            ? [.. text.Text.Split(',').Select(part => Attributes.ParsePath(StringValue.Template(part)))]
            : [Attributes.ParsePath(bound[3])];
        return new ListValue(Sorted(
            state, Iteration.ToArray(state, bound[0]!), item => new ListValue([.. paths.Select(path => Key(state, item, path, exact))]), bound[1]?.IsTrue ?? false));
    }

    public static Value DictSort(RenderState state, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("dictsort", 1, "value", "case_sensitive", "by", "reverse");
        string by = (bound[2] as StringValue)?.Text ?? (bound[2] is null ? "key" : "");
        if (by is not ("key" or "value"))
            throw Fault.Value("You can only sort by either \"key\" or \"value\"");
        if (bound[0] is not DictValue dict)
            throw bound[0] is UndefinedValue undefined ? undefined.Fail() : Fault.Type($"'{bound[0]!.TypeName}' object has no attribute 'items'");
        bool exact = bound[1]?.IsTrue ?? false;
        Value[] items = Iteration.ToArray(state, new DictViewValue(dict, DictViewKind.Items));
        return new ListValue(Sorted(
            state, items, item => IgnoreCase(state, ((TupleValue)item).Items[by == "key" ? 0 : 1], exact), bound[3]?.IsTrue ?? false));
    }

    public static Value GroupBy(RenderState state, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("groupby", 2, "value", "attribute", "default", "case_sensitive");
        Value[] path = Attributes.ParsePath(bound[1]);
        Value? absent = bound[2] is NoneValue ? null : bound[2];
        bool exact = bound[3]?.IsTrue ?? false;
        Value[] sorted = Sorted(state, Iteration.ToArray(state, bound[0]!), GroupKey, false);
        List<Value> groups = [];
        for (int start = 0; start < sorted.Length;)
        {
            Value key = GroupKey(sorted[start]);
            int end = start + 1;
            while (end < sorted.Length && Comparison.IsSame(state, GroupKey(sorted[end]), key))
                end++;
            groups.Add(new GroupValue(exact ? key : Attributes.GetPath(state, sorted[start], path, absent), new ListValue(sorted[start..end])));
            start = end;
        }
        return new ListValue([.. groups]);

        Value GroupKey(Value item) => IgnoreCase(state, Attributes.GetPath(state, item, path, absent), exact);
    }

    public static Value Unique(RenderState state, Arguments arguments)
    {
        Value?[] bound = arguments.Bind("unique", 1, "value", "case_sensitive", "attribute");
        bool exact = bound[1]?.IsTrue ?? false;
        Value[] path = Attributes.ParsePath(bound[2]);
        return new IteratorValue(state, Distinct(Iteration.Of(state, bound[0]!)));

        IEnumerable<Value> Distinct(IEnumerable<Value> items)
        {
            HashSet<Value> seen = new(new KeyComparer(state));
            foreach (Value item in items)
            {
                state.Step();
                Value key = Key(state, item, path, exact);
                KeyComparer.RequireHashable(state, key);
                if (seen.Add(key))
                    yield return item;
            }
        }
    }

    public static Value Min(RenderState state, Arguments arguments) => Extreme(state, arguments, "min", wantsLess: true);

    public static Value Max(RenderState state, Arguments arguments) => Extreme(state, arguments, "max", wantsLess: false);

    private static Value Extreme(RenderState state, Arguments arguments, string name, bool wantsLess)
    {
        Value?[] bound = arguments.Bind(name, 1, "value", "case_sensitive", "attribute");
        bool exact = bound[1]?.IsTrue ?? false;
        Value[] path = Attributes.ParsePath(bound[2]);
        Value? best = null, bestKey = null;
        foreach (Value item in Iteration.Of(state, bound[0]!))
        {
            Value key = Key(state, item, path, exact);
            if (bestKey is null || (wantsLess ? Comparison.IsLess(state, key, bestKey) : Comparison.IsLess(state, bestKey, key)))
                (best, bestKey) = (item, key);
        }
        return best ?? new UndefinedValue("No aggregated item, sequence was empty.");
    }

    private static Value Key(RenderState state, Value item, Value[] path, bool exact) => IgnoreCase(state, Attributes.GetPath(state, item, path), exact);

    private static Value IgnoreCase(RenderState state, Value value, bool exact)
    {
        if (exact || value is not StringValue text)
            return value;
        state.ChargeText(0, text.Text.Length * 4L);
        return text.Rebuilt(TextCase.Lower(text.Text));
    }

    /// <summary>A stable merge sort that only asks whether one key is less than another, as Python's does; reversed it stays stable.</summary>
    private static Value[] Sorted(RenderState state, Value[] items, Func<Value, Value> keyOf, bool reverse)
    {
        (Value Key, Value Item)[] from = [.. items.Select(item => (keyOf(item), item))];
        (Value Key, Value Item)[] to = new (Value, Value)[from.Length];
        for (int run = 1; run < from.Length; run *= 2)
        {
            for (int start = 0; start < from.Length; start += 2 * run)
            {
                int middle = Math.Min(start + run, from.Length), end = Math.Min(start + 2 * run, from.Length);
                for (int left = start, right = middle, at = start; at < end; at++)
                {
                    bool takeRight = left == middle || (right < end && (reverse
                        ? Comparison.IsLess(state, from[left].Key, from[right].Key)
                        : Comparison.IsLess(state, from[right].Key, from[left].Key)));
                    to[at] = takeRight ? from[right++] : from[left++];
                }
            }
            (from, to) = (to, from);
        }
        return [.. from.Select(entry => entry.Item)];
    }
}
