using TpServe.Checkpoint.Config;

namespace TpServe.Sharding.Planning;

/// <summary>What every range of units [first, end) of one segment costs on every device: query heads, or MLP leaves.</summary>
/// <remarks>Seconds are those of prefill and decode, each as often as it counts, so that their sum is what is minimised. Both grow with the range.</remarks>
internal sealed class RangeTable
{
    private readonly int _stride;
    private readonly double[] _bytes;
    private readonly int[] _pieces;
    private readonly double[] _preference;
    private readonly double[][] _prefill, _decode;

    private RangeTable(int units, CostModel costs, Func<int, int, double> bytes, Func<PhaseCosts, int, int, double> seconds, Func<int, bool> preferred)
    {
        Units = units;
        _stride = units + 1;
        _bytes = new double[_stride * _stride];
        _pieces = new int[_stride * _stride];
        int[] like = [.. Enumerable.Range(0, costs.Devices.Count).Select(device => Enumerable.Range(0, device).FirstOrDefault(other => costs.Devices[other].IsAsFastAs(costs.Devices[device]), device))];
        _prefill = new double[costs.Devices.Count][];
        _decode = new double[costs.Devices.Count][];
        for (int device = 0; device < like.Length; device++)
            (_prefill[device], _decode[device]) = like[device] == device
                ? (new double[_stride * _stride], new double[_stride * _stride])
                : (_prefill[like[device]], _decode[like[device]]); // like devices share their tables
        _preference = [.. Enumerable.Range(0, units + 1).Select(boundary => Apportionment.BoundaryCost(boundary, units, preferred))];
        double[] weights = costs.Weights;
        for (int first = 0; first <= units; first++)
            for (int end = first; end <= units; end++)
            {
                int index = (first * _stride) + end;
                _bytes[index] = bytes(first, end);
                _pieces[index] = RankShare.Pieces(units, first, end);
                for (int device = 0; device < costs.Devices.Count; device++)
                {
                    if (like[device] != device)
                        continue;
                    _prefill[device][index] = weights[0] * seconds(costs.Phases[device][0], first, end);
                    _decode[device][index] = weights[1] * seconds(costs.Phases[device][1], first, end);
                }
            }
    }

    /// <summary>How many units are split.</summary>
    public int Units { get; }

    /// <summary>The attention half, by query heads: a KV head whose group is cut is on both sides.</summary>
    public static RangeTable OfHeads(CostModel costs)
    {
        ModelConfig config = costs.Model.Config;
        int group = config.Heads / config.KvHeads;
        return new RangeTable(
            config.Heads, costs,
            (first, end) => costs.Memory.Heads(end - first, RankShare.KvHeadsOf(config, first, end)),
            (phase, first, end) => phase.Attention.Of(end - first, RankShare.KvHeadsOf(config, first, end)).Total,
            boundary => boundary % group == 0);
    }

    /// <summary>The MLP half, by leaves.</summary>
    public static RangeTable OfLeaves(CostModel costs)
    {
        Leaves leaves = Leaves.OfMlp(costs.Model.Config);
        return new RangeTable(
            leaves.Count, costs,
            (first, end) => costs.Memory.Columns(leaves.Start(end) - leaves.Start(first)),
            (phase, first, end) => phase.Mlp.Of(leaves.Start(end) - leaves.Start(first)).Total,
            _ => true);
    }

    public double Bytes(int first, int end) => _bytes[(first * _stride) + end];

    /// <summary>Maximal subtrees inside the range.</summary>
    public int Pieces(int first, int end) => _pieces[(first * _stride) + end];

    public double Prefill(int device, int first, int end) => _prefill[device][(first * _stride) + end];

    public double Decode(int device, int first, int end) => _decode[device][(first * _stride) + end];

    /// <summary>How little a boundary is liked among equal costs: at KV groups and large subtrees least.</summary>
    public double Preference(int boundary) => _preference[boundary];
}
