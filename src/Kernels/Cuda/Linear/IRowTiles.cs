namespace TpServe.Kernels.Cuda.Linear;

/// <summary>How many tiles of 8 rows a streaming kernel takes with one read of the weights.</summary>
internal interface IRowTiles
{
    /// <summary>Tiles of 8 rows: 1, 2 or 4.</summary>
    static abstract int Count { get; }

    /// <summary>Segments whose sums are in shared memory at once, so that these and the stacks stay below 48 KiB.</summary>
    static abstract int Slots { get; }
}

/// <summary>1 to 8 rows.</summary>
internal readonly struct OneRowTile : IRowTiles
{
    /// <inheritdoc/>
    public static int Count => 1;

    /// <inheritdoc/>
    public static int Slots => 64;
}

/// <summary>9 to 16 rows.</summary>
internal readonly struct TwoRowTiles : IRowTiles
{
    /// <inheritdoc/>
    public static int Count => 2;

    /// <inheritdoc/>
    public static int Slots => 24;
}

/// <summary>17 to 32 rows.</summary>
internal readonly struct FourRowTiles : IRowTiles
{
    /// <inheritdoc/>
    public static int Count => 4;

    /// <inheritdoc/>
    public static int Slots => 8;
}
