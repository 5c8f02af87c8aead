using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cpu;

/// <summary>A row and what it goes through.</summary>
internal sealed record ExpertRow(float[] Values, int[] Ids, float[] Weights);

/// <summary>Random experts with a shared one beside them, as stacks and one by one.</summary>
internal sealed class ExpertScene : IDisposable
{
    private readonly ITensorBackend _backend;
    private readonly int _hidden;
    private readonly int _experts;
    private readonly int _perRow;
    private readonly List<PackedWeight> _owned = [];
    private readonly PackedWeight[][] _single;

    public ExpertScene(
        ITensorBackend backend, WeightFormat gate, WeightFormat up, WeightFormat down, int columns, int leafColumns, Func<int, (int, int)> share, int experts, int perRow, int hidden)
    {
        (_backend, _hidden, _experts, _perRow) = (backend, hidden, experts, perRow);
        int leaves = (columns + leafColumns - 1) / leafColumns;
        int[] boundaries = [.. Enumerable.Range(0, leaves + 1).Select(leaf => Math.Min(columns, leaf * leafColumns))];
        (int from, int to) = share(leaves);
        InputLeaves tree = LinearTree.Share(boundaries, from, to), apart = new(tree.Boundaries, new int[to - from]);
        int first = tree.Boundaries[0], own = tree.Columns;
        WeightRows[][] files =
        [
            .. Enumerable.Range(0, experts + 1).Select(expert => new WeightRows[]
            {
                LinearWeights.Random(gate, columns, hidden, expert), LinearWeights.Random(up, columns, hidden, 100 + expert), LinearWeights.Random(down, hidden, columns, 200 + expert),
            }),
        ];
        _single = [.. files.Select(file => new[] { Pack(new Part(file[0], first, own, own), hidden), Pack(new Part(file[1], first, own, own), hidden), Own(_backend.PackWeight(file[2], apart)) })];
        Mlp = new ExpertMlp(Stack(0, experts), Stack(experts, 1), tree.Merges, new ExpertActivation(Activation.Silu));

        ExpertStack Stack(int from, int count)
        {
            int stride = ExpertStack.Stride(own), downStride = ExpertStack.Stride(hidden);
            return new ExpertStack(
                count, Pack(new Below([.. files[from..(from + count)].Select(file => new Part(file[0], first, own, stride))]), hidden),
                Pack(new Below([.. files[from..(from + count)].Select(file => new Part(file[1], first, own, stride))]), hidden),
                Own(_backend.PackWeight(new Below([.. files[from..(from + count)].Select(file => new Part(file[2], 0, hidden, downStride))]), apart)));
        }
    }

    public ExpertMlp Mlp { get; }

    /// <summary>Random rows; some experts are chosen more often than others.</summary>
    public ExpertRow[] Rows(int count)
    {
        Random random = new(5);
        return
        [
            .. Enumerable.Range(0, count).Select(row => new ExpertRow(
                Numbers.Uniform(_hidden, seed: row),
                [.. Enumerable.Range(0, _experts).OrderBy(expert => random.Next(1 + expert)).Take(_perRow).Order(), _experts],
                [.. Enumerable.Range(0, _perRow + 1).Select(_ => random.NextSingle())])),
        ];
    }

    /// <summary>The pieces of all rows at once.</summary>
    public float[] Pieces(ExpertRow[] rows) => Pieces(rows, Mlp);

    /// <summary>The same of experts that differ a little.</summary>
    public float[] Pieces(ExpertRow[] rows, ExpertMlp mlp)
    {
        long mark = _backend.Mark();
        int chosen = _perRow + 1;
        Tensor x = _backend.Rent(rows.Length, _hidden), ids = _backend.Rent(rows.Length, chosen, ElementType.Int32), weights = _backend.Rent(rows.Length, chosen);
        Tensor pieces = _backend.Rent(rows.Length * Mlp.Pieces, _hidden);
        _backend.Upload<float>(rows.SelectMany(row => row.Values).ToArray(), x);
        _backend.Upload<int>(rows.SelectMany(row => row.Ids).ToArray(), ids);
        _backend.Upload<float>(rows.SelectMany(row => row.Weights).ToArray(), weights);
        _backend.ExpertPieces(x, ids, weights, mlp, pieces);
        float[] values = Read(pieces);
        _backend.Release(mark);
        return values;
    }

    /// <summary>One row's pieces by the operations of dense models, one expert after the other.</summary>
    public float[] OneByOne(ExpertRow row)
    {
        int leaves = Mlp.Merges.Count, columns = Mlp.Routed.Columns;
        float[] sums = new float[leaves * _hidden];
        for (int i = 0; i < row.Ids.Length; i++)
        {
            PackedWeight[] expert = _single[row.Ids[i]];
            long mark = _backend.Mark();
            Tensor x = _backend.Rent(1, _hidden), both = _backend.Rent(1, 2 * columns), activated = _backend.Rent(1, columns), products = _backend.Rent(leaves, _hidden);
            _backend.Upload<float>(row.Values, x);
            _backend.Linear(x, [expert[0], expert[1]], both);
            _backend.GatedActivation(both, Activation.Silu, activated);
            _backend.LinearPieces(activated, expert[2], products);
            float[] values = Read(products);
            for (int at = 0; at < sums.Length; at++)
                sums[at] = MathF.FusedMultiplyAdd(row.Weights[i], values[at], sums[at]);
            _backend.Release(mark);
        }
        List<float[]> stack = [];
        for (int leaf = 0; leaf < leaves; leaf++)
        {
            stack.Add(sums[(leaf * _hidden)..((leaf + 1) * _hidden)]);
            for (int merge = 0; merge < Mlp.Merges[leaf]; merge++)
            {
                stack[^2] = [.. stack[^2].Zip(stack[^1], (lower, upper) => lower + upper)];
                stack.RemoveAt(stack.Count - 1);
            }
        }
        return [.. stack.SelectMany(piece => piece)];
    }

    /// <summary>Rows' pieces as they lie together: piece by piece.</summary>
    public float[] Joined(float[][] rows) => [.. Enumerable.Range(0, Mlp.Pieces).SelectMany(piece => rows.SelectMany(row => row[(piece * _hidden)..((piece + 1) * _hidden)]))];

    public void Dispose() => _owned.ForEach(weight => weight.Dispose());

    private PackedWeight Pack(WeightRows rows, int inputs) => Own(_backend.PackWeight(rows, InputLeaves.Whole(inputs)));

    private PackedWeight Own(PackedWeight weight)
    {
        _owned.Add(weight);
        return weight;
    }

    private float[] Read(Tensor tensor)
    {
        float[] values = new float[tensor.Rows * tensor.Columns];
        _backend.Download(tensor, values.AsSpan());
        return values;
    }

    /// <summary>Rows [first, first + rows) of a matrix, and zeros behind them.</summary>
    private sealed class Part(WeightRows matrix, int first, int rows, int outputs) : WeightRows
    {
        private readonly byte[] _zeros = new byte[matrix.Format.RowBytes(matrix.FileColumns)];

        public override WeightFormat Format => matrix.Format;

        public override int Outputs => outputs;

        public override int FileColumns => matrix.FileColumns;

        public override ReadOnlySpan<byte> Row(int output) => output < rows ? matrix.Row(first + output) : _zeros;
    }

    /// <summary>Matrices of as many rows below each other.</summary>
    private sealed class Below(WeightRows[] parts) : WeightRows
    {
        public override WeightFormat Format => parts[0].Format;

        public override int Outputs => parts.Length * parts[0].Outputs;

        public override int FileColumns => parts[0].FileColumns;

        public override ReadOnlySpan<byte> Row(int output) => parts[output / parts[0].Outputs].Row(output % parts[0].Outputs);
    }
}
