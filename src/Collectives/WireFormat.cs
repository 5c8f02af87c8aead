namespace TpServe.Collectives;

/// <summary>What the partial sums of row-parallel products are sent as. Everything else that ranks exchange travels as it is.</summary>
public enum WireFormat
{
    /// <summary>As they were computed: the bits of one rank at every degree.</summary>
    Float32 = 0,

    /// <summary>The upper half of a float32, rounded to nearest even: 2 bytes an element.</summary>
    BFloat16 = 1,

    /// <summary>Blocks of 32 elements of a row: codes in −127..127 and one binary16 scale, 34 bytes a block.</summary>
    Q8 = 2,
}

/// <summary>Bytes that a rank has sent.</summary>
/// <param name="Bytes">To all peers; over sockets with the heads of frames.</param>
/// <param name="AcrossBytes">Of them to ranks on other hosts.</param>
public readonly record struct Traffic(long Bytes, long AcrossBytes)
{
    /// <summary>This and so much more.</summary>
    public Traffic With(long bytes, long acrossBytes) => new(Bytes + bytes, AcrossBytes + acrossBytes);

    /// <summary>Both.</summary>
    public static Traffic operator +(Traffic left, Traffic right) => new(left.Bytes + right.Bytes, left.AcrossBytes + right.AcrossBytes);

    /// <summary>What came since.</summary>
    public static Traffic operator -(Traffic left, Traffic right) => new(left.Bytes - right.Bytes, left.AcrossBytes - right.AcrossBytes);

    /// <summary>Both.</summary>
    public Traffic Add(Traffic other) => this + other;

    /// <summary>What came since.</summary>
    public Traffic Subtract(Traffic earlier) => this - earlier;
}
