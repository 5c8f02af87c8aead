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
/// <remarks>It belongs to no rendering, so whoever looks a key up says to which one the search is charged.</remarks>
internal sealed class DictValue : Value
{
    /// <summary>Up to this many keys a scan beats a hash table.</summary>
    private const int ScanLimit = 8;

    private readonly List<KeyValuePair<Value, Value>> _entries = [];
    private readonly List<int> _older = []; // of each entry, the one before it with the same hash; -1 = none
    private Dictionary<int, int>? _newest; // hash to the last entry that has it; null up to the scan limit

    public IReadOnlyList<KeyValuePair<Value, Value>> Entries => _entries;

    public int Count => _entries.Count;

    public override string TypeName => "dict";

    public override bool IsTrue => _entries.Count > 0;

    /// <summary>Sets a key; a key that is there keeps its place.</summary>
    public void Set(RenderState state, Value key, Value value)
    {
        state.Step();
        int position = Find(state, key);
        if (position >= 0)
        {
            _entries[position] = new(_entries[position].Key, value);
            return;
        }
        _entries.Add(new(key, value));
        if (_entries.Count <= ScanLimit)
            return;
        _newest ??= [];
        for (int entry = _older.Count; entry < _entries.Count; entry++)
        {
            int hash = KeyComparer.Hash(state, _entries[entry].Key);
            _older.Add(_newest.TryGetValue(hash, out int older) ? older : -1);
            _newest[hash] = entry;
        }
    }

    /// <summary>The value of a key, or null; a key that Python cannot hash is a type error.</summary>
    public Value? Get(RenderState state, Value key)
    {
        int position = Find(state, key);
        return position < 0 ? null : _entries[position].Value;
    }

    /// <summary>The value of a text key, or null.</summary>
    public Value? Get(RenderState state, string key) => Get(state, StringValue.Template(key));

    private int Find(RenderState state, Value key)
    {
        KeyComparer.RequireHashable(state, key);
        int candidate = _newest is null ? _entries.Count - 1 : _newest.GetValueOrDefault(KeyComparer.Hash(state, key), -1);
        while (candidate >= 0 && !Comparison.AreEqual(state, _entries[candidate].Key, key))
            candidate = _newest is null ? candidate - 1 : _older[candidate];
        return candidate;
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
