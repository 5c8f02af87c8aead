namespace TpServe.Model.Adapters;

/// <summary>Which rows of a step go through which adapter: the same on every rank.</summary>
/// <remarks>Threads  built once a step, then read only.</remarks>
public sealed class LoraBatch
{
    private readonly List<LoraGroup> _groups = [];

    /// <summary>The adapters of the step, each with its rows.</summary>
    public IReadOnlyList<LoraGroup> Groups => _groups;

    /// <summary>A sequence's rows go through an adapter; rows ascend from call to call.</summary>
    public void Add(LoraAdapter adapter, int firstRow, int rows)
    {
        LoraGroup? group = _groups.Find(known => known.Adapter == adapter);
        if (group is null)
            _groups.Add(group = new LoraGroup(adapter));
        group.Add(firstRow, rows);
    }

    /// <summary>Rows whose adapter changes a place, and the most elements of t that one of them has there.</summary>
    public (int Rows, int Ranks) At(int layer, LoraPlace place)
    {
        int rows = 0, ranks = 0;
        foreach (LoraGroup group in _groups)
            if (group.Adapter.Site(layer, place) is { } site)
            {
                rows += group.Rows.Length;
                ranks = Math.Max(ranks, site.Ranks);
            }
        return (rows, ranks);
    }
}

/// <summary>The rows of a step that go through one adapter.</summary>
public sealed class LoraGroup(LoraAdapter adapter)
{
    private int[] _rows = new int[8];
    private int _count;

    /// <summary>The adapter.</summary>
    public LoraAdapter Adapter => adapter;

    /// <summary>Ascending.</summary>
    public ReadOnlyMemory<int> Rows => _rows.AsMemory(0, _count);

    /// <summary>Adds rows behind those there are.</summary>
    public void Add(int firstRow, int rows)
    {
        if (_count + rows > _rows.Length)
            Array.Resize(ref _rows, Math.Max(_count + rows, 2 * _rows.Length));
        for (int i = 0; i < rows; i++)
            _rows[_count++] = firstRow + i;
    }

    /// <summary>Those of its rows that lie in [first, first + count), as a range of <see cref="Rows"/>.</summary>
    public (int Start, int Count) Within(int first, int count)
    {
        int start = IndexOf(first);
        return (start, IndexOf(first + count) - start);
    }

    private int IndexOf(int row)
    {
        int index = Rows.Span.BinarySearch(row);
        return index < 0 ? ~index : index;
    }
}
