using TpServe.Checkpoint;

namespace TpServe.Sharding.Planning;

/// <summary>What one device can do, as measured on it or as derived from its data sheet. Plain numbers: which device it is the planner neither knows nor asks.</summary>
/// <remarks>Errors   <see cref="Check"/> throws <see cref="ShardingException"/> that names device, field, value and limit.</remarks>
public sealed record DeviceProfile
{
    /// <summary>How reports call it: "cpu:0", "H100-SXM #3".</summary>
    public required string Name { get; init; }

    /// <summary>Its kind, for reports: cpu, cuda.</summary>
    public required string Kind { get; init; }

    /// <summary>Memory that weights, KV cache and scratch may take together, in bytes.</summary>
    public required long MemoryBytes { get; init; }

    /// <summary>Bytes a second at which it reads its memory in one stream.</summary>
    public required double ReadBytesPerSecond { get; init; }

    /// <summary>Time of a product of matrices for each weight format, by rows of activations.</summary>
    public required IReadOnlyDictionary<TensorType, ProductCurve> Products { get; init; }

    /// <summary>Attention of one new row a sequence: seconds for each byte of keys and values it reads.</summary>
    public required double DecodeAttentionSecondsPerByte { get; init; }

    /// <summary>Attention of many rows of a sequence: seconds for each query row × key × element of a query head.</summary>
    public required double PrefillAttentionSecondsPerElement { get; init; }

    /// <summary>Norms, activations, rotary embedding, sums: seconds for each float they touch.</summary>
    public required double ElementwiseSecondsPerFloat { get; init; }

    /// <summary>Seconds that an operation takes beside its work: dispatch, the meeting of threads, a launch.</summary>
    public required double OperationSeconds { get; init; }

    /// <summary>Seconds of every step that somebody else takes of its processor: the gateway, where it has no core of its own.</summary>
    public double StepSeconds { get; init; }

    /// <summary>Whether it computes as fast as another one, every number within a share of the other's; memory does not count.</summary>
    public bool IsAsFastAs(DeviceProfile other, double within = 0)
    {
        ArgumentNullException.ThrowIfNull(other);
        return Near(DecodeAttentionSecondsPerByte, other.DecodeAttentionSecondsPerByte) && Near(PrefillAttentionSecondsPerElement, other.PrefillAttentionSecondsPerElement)
            && Near(ElementwiseSecondsPerFloat, other.ElementwiseSecondsPerFloat) && Near(OperationSeconds, other.OperationSeconds) && Near(StepSeconds, other.StepSeconds) && Products.Count == other.Products.Count
            && Products.All(product => other.Products.TryGetValue(product.Key, out ProductCurve? curve) && product.Value.Points.Count == curve.Points.Count
                && product.Value.Points.Zip(curve.Points).All(pair => pair.First.Rows == pair.Second.Rows && Near(pair.First.SecondsPerByte, pair.Second.SecondsPerByte)));

        bool Near(double mine, double theirs) => Math.Abs(mine - theirs) <= within * Math.Max(mine, theirs);
    }

    /// <summary>A device of the mean speed of several whose curves have the same points; named after the first, with its memory.</summary>
    public static DeviceProfile MeanOf(IReadOnlyList<DeviceProfile> devices)
    {
        ArgumentNullException.ThrowIfNull(devices);
        return devices.Count == 1 ? devices[0] : devices[0] with
        {
            ReadBytesPerSecond = devices.Average(device => device.ReadBytesPerSecond),
            Products = devices[0].Products.ToDictionary(product => product.Key, product => new ProductCurve(
                [.. product.Value.Points.Select(point => new ProductPoint(point.Rows, devices.Average(device => device.ProductOf(product.Key).At(point.Rows))))])),
            DecodeAttentionSecondsPerByte = devices.Average(device => device.DecodeAttentionSecondsPerByte),
            PrefillAttentionSecondsPerElement = devices.Average(device => device.PrefillAttentionSecondsPerElement),
            ElementwiseSecondsPerFloat = devices.Average(device => device.ElementwiseSecondsPerFloat),
            OperationSeconds = devices.Average(device => device.OperationSeconds),
            StepSeconds = devices.Average(device => device.StepSeconds),
        };
    }

    /// <summary>Every number finite and in its range.</summary>
    /// <exception cref="ShardingException">Names device, field, value and limit.</exception>
    public void Check()
    {
        if (string.IsNullOrEmpty(Name))
            throw new ShardingException("a device profile has no name.");
        if (MemoryBytes <= 0)
            throw new ShardingException($"device {Name}: memory {MemoryBytes} bytes is not above 0.");
        Positive("read bytes/s", ReadBytesPerSecond);
        Positive("decode attention s/byte", DecodeAttentionSecondsPerByte);
        Positive("prefill attention s/element", PrefillAttentionSecondsPerElement);
        Positive("element-wise s/float", ElementwiseSecondsPerFloat);
        if (!double.IsFinite(OperationSeconds) || OperationSeconds < 0)
            throw new ShardingException(FormattableString.Invariant($"device {Name}: seconds an operation {OperationSeconds} is not a finite number ≥ 0."));
        if (!double.IsFinite(StepSeconds) || StepSeconds < 0)
            throw new ShardingException(FormattableString.Invariant($"device {Name}: seconds a step {StepSeconds} is not a finite number ≥ 0."));
        if (Products.Count == 0)
            throw new ShardingException($"device {Name}: no weight format has a product curve.");
        foreach ((TensorType format, ProductCurve curve) in Products)
            curve.Check(Name, format);

        void Positive(string field, double value)
        {
            if (!double.IsFinite(value) || value <= 0)
                throw new ShardingException(FormattableString.Invariant($"device {Name}: {field} {value} is not a finite number above 0."));
        }
    }

    /// <summary>The curve of a format.</summary>
    /// <exception cref="ShardingException">There is none; names device and format.</exception>
    public ProductCurve ProductOf(TensorType format) => Products.TryGetValue(format, out ProductCurve? curve)
        ? curve
        : throw new ShardingException($"device {Name}: no product curve for weights of {format}; it has {string.Join(", ", Products.Keys.Order())}.");
}

/// <summary>A product's seconds for each stored byte of its weights, by rows of activations.</summary>
/// <remarks>Linear between points, the first point's below them, by the last slope above them.</remarks>
/// <param name="Points">Rows, ascending, and seconds for each weight byte.</param>
public sealed record ProductCurve(IReadOnlyList<ProductPoint> Points)
{
    /// <summary>Rows at which curves are measured.</summary>
    public static IReadOnlyList<int> StandardRows { get; } = [1, 8, 32, 128, 512];

    /// <summary>Seconds for each weight byte at so many rows.</summary>
    public double At(int rows)
    {
        if (Points.Count == 1 || rows <= Points[0].Rows)
            return Points[0].SecondsPerByte;
        int high = 1;
        while (high + 1 < Points.Count && Points[high].Rows < rows)
            high++;
        ProductPoint left = Points[high - 1], right = Points[high];
        double slope = (right.SecondsPerByte - left.SecondsPerByte) / (right.Rows - left.Rows);
        // A curve that falls at its end is noise of the measurement: more rows never take less.
        return rows > right.Rows ? right.SecondsPerByte + (Math.Max(slope, 0) * (rows - right.Rows)) : left.SecondsPerByte + (slope * (rows - left.Rows));
    }

    internal void Check(string device, TensorType format)
    {
        if (Points.Count == 0)
            throw new ShardingException($"device {device}: the product curve of {format} has no point.");
        for (int i = 0; i < Points.Count; i++)
        {
            if (Points[i].Rows < 1 || (i > 0 && Points[i].Rows <= Points[i - 1].Rows))
                throw new ShardingException($"device {device}: the product curve of {format} has {Points[i].Rows} rows as point {i}; rows ascend from 1.");
            if (!double.IsFinite(Points[i].SecondsPerByte) || Points[i].SecondsPerByte <= 0)
                throw new ShardingException(FormattableString.Invariant($"device {device}: the product curve of {format} at {Points[i].Rows} rows, {Points[i].SecondsPerByte} s/byte, is not a finite number above 0."));
        }
    }
}

/// <summary>One point of a product's curve.</summary>
/// <param name="Rows">Rows of activations.</param>
/// <param name="SecondsPerByte">Seconds for each stored byte of the weights.</param>
public readonly record struct ProductPoint(int Rows, double SecondsPerByte);
