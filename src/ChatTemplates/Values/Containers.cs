using System.Numerics;
using TpServe.ChatTemplates.Evaluation;

namespace TpServe.ChatTemplates.Values;

/// <summary>A list or a tuple: both are immutable here, because the sandbox forbids changing a list.</summary>
internal abstract class SequenceValue(Value[] items) : Value
{
    public Value[] Items { get; } = items;

    public override bool IsTrue => Items.Length > 0;
}

/// <summary>A Python list.</summary>
internal sealed class ListValue(params Value[] items) : SequenceValue(items)
{
    public override string TypeName => "list";
}

/// <summary>A Python tuple.</summary>
internal class TupleValue(params Value[] items) : SequenceValue(items)
{
    public static readonly TupleValue Empty = new();

    public override string TypeName => "tuple";
}

/// <summary>An element of groupby's result: the tuple (grouper, list), with these names.</summary>
internal sealed class GroupValue(Value grouper, ListValue list) : TupleValue(grouper, list)
{
    public override string TypeName => "_GroupTuple";
}

/// <summary>A dictionary in order of insertion; it is filled while it is made and never changed after.</summary>
internal sealed class DictValue(RenderState state) : Value
{
    /// <summary>Up to this many keys a scan beats a hash table.</summary>
    private const int ScanLimit = 8;

    private readonly List<KeyValuePair<Value, Value>> _entries = [];
    private Dictionary<Value, int>? _index;

    public IReadOnlyList<KeyValuePair<Value, Value>> Entries => _entries;

    public int Count => _entries.Count;

    public override string TypeName => "dict";

    public override bool IsTrue => _entries.Count > 0;

    /// <summary>Sets a key; a key that is there keeps its place.</summary>
    public void Set(Value key, Value value)
    {
        state.Step();
        int position = Find(key);
        if (position >= 0)
        {
            _entries[position] = new(_entries[position].Key, value);
            return;
        }
        _entries.Add(new(key, value));
        if (_index is not null)
        {
            _index.Add(key, _entries.Count - 1);
        }
        else if (_entries.Count > ScanLimit)
        {
            _index = new Dictionary<Value, int>(new KeyComparer(state));
            for (int i = 0; i < _entries.Count; i++)
                _index.Add(_entries[i].Key, i);
        }
    }

    /// <summary>The value of a key, or null; a key that Python cannot hash is a type error.</summary>
    public Value? Get(Value key)
    {
        int position = Find(key);
        return position < 0 ? null : _entries[position].Value;
    }

    /// <summary>The value of a text key, or null.</summary>
    public Value? Get(string key) => Get(StringValue.Template(key));

    private int Find(Value key)
    {
        KeyComparer.RequireHashable(state, key);
        if (_index is not null)
            return _index.TryGetValue(key, out int found) ? found : -1;
        for (int i = 0; i < _entries.Count; i++)
            if (Comparison.AreEqual(state, _entries[i].Key, key))
                return i;
        return -1;
    }
}

/// <summary>The result of a dictionary's keys(), values() or items().</summary>
internal sealed class DictViewValue(DictValue dict, DictViewKind kind) : Value
{
    public DictValue Dict { get; } = dict;

    public DictViewKind Kind { get; } = kind;

    public override string TypeName => Kind switch
    {
        DictViewKind.Keys => "dict_keys",
        DictViewKind.Values => "dict_values",
        _ => "dict_items",
    };

    public override bool IsTrue => Dict.IsTrue;

    public IEnumerable<Value> Items()
    {
        foreach ((Value key, Value value) in Dict.Entries)
        {
            yield return Kind switch
            {
                DictViewKind.Keys => key,
                DictViewKind.Values => value,
                _ => new TupleValue(key, value),
            };
        }
    }
}

internal enum DictViewKind
{
    Keys,
    Values,
    Items,
}

/// <summary>range(start, stop, step), never longer than the sandbox allows.</summary>
internal sealed class RangeValue(BigInteger start, BigInteger stop, BigInteger step, int count) : Value
{
    /// <summary>Jinja's MAX_RANGE.</summary>
    public const int MaxCount = 100_000;

    public BigInteger Start { get; } = start;

    public BigInteger Stop { get; } = stop;

    public BigInteger Step { get; } = step;

    public int Count { get; } = count;

    public override string TypeName => "range";

    public override bool IsTrue => Count > 0;

    public Value At(int index) => IntValue.Of(Start + Step * index);
}

/// <summary>A generator: it can be walked once. Generators over generators nest, so each step is a nested evaluation.</summary>
internal sealed class IteratorValue(RenderState state, IEnumerable<Value> items, string typeName = "generator") : Value
{
    private readonly IEnumerator<Value> _items = items.GetEnumerator();

    public override string TypeName => typeName;

    /// <summary>What is left of it.</summary>
    public IEnumerable<Value> Remaining()
    {
        while (true)
        {
            state.Step();
            state.Enter();
            bool more = _items.MoveNext();
            state.Leave();
            if (!more)
                yield break;
            yield return _items.Current;
        }
    }
}

/// <summary>namespace(...): the one value a template can change.</summary>
internal sealed class NamespaceValue : Value
{
    public Dictionary<string, Value> Attributes { get; } = new(StringComparer.Ordinal);

    public override string TypeName => "Namespace";
}
