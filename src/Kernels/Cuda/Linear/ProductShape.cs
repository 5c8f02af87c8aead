using ILGPU;

namespace TpServe.Kernels.Cuda.Linear;

/// <summary>Sizes of one launch of a product: up to three weights of one input, their tiles numbered and their outputs laid side by side.</summary>
internal struct ProductShape
{
    /// <summary>Rows of x.</summary>
    public int Rows;

    /// <summary>Elements from one row of x to the next.</summary>
    public int StrideX;

    /// <summary>Elements from one row of y to the next.</summary>
    public int StrideY;

    /// <summary>Blocks of 32 inputs of an output.</summary>
    public int Blocks;

    /// <summary>Segments of an output.</summary>
    public int Segments;

    /// <summary>Tiles of the first weight.</summary>
    public int Tiles0;

    /// <summary>Tiles of the first two.</summary>
    public int Tiles1;

    /// <summary>Tiles of all three.</summary>
    public int Tiles;

    /// <summary>Outputs of the first weight.</summary>
    public int Outputs0;

    /// <summary>Outputs of the second.</summary>
    public int Outputs1;

    /// <summary>Outputs of the third.</summary>
    public int Outputs2;

    /// <summary>Column of y where the first weight's outputs begin, and the next ones follow.</summary>
    public int Column;

    /// <summary>The weight, place and columns of a tile of the launch; its tiles are of the given number of words.</summary>
    public static PlacedTile Place(ProductShape shape, int tile, ArrayView<uint> w0, ArrayView<uint> w1, ArrayView<uint> w2, long tileWords)
    {
        int part = tile < shape.Tiles0 ? 0 : tile < shape.Tiles1 ? 1 : 2;
        int own = tile - (part == 0 ? 0 : part == 1 ? shape.Tiles0 : shape.Tiles1);
        int outputs = part == 0 ? shape.Outputs0 : part == 1 ? shape.Outputs1 : shape.Outputs2;
        int column = shape.Column + (part == 0 ? 0 : part == 1 ? shape.Outputs0 : shape.Outputs0 + shape.Outputs1);
        return new PlacedTile
        {
            Weights = part == 0 ? w0 : part == 1 ? w1 : w2,
            First = own * tileWords,
            Column = column + (own * CudaPackedWeight.TileOutputs),
            Outputs = outputs - (own * CudaPackedWeight.TileOutputs),
        };
    }
}

/// <summary>A tile of 16 outputs: where its weights begin and where its outputs go.</summary>
internal struct PlacedTile
{
    /// <summary>The weight it belongs to.</summary>
    public ArrayView<uint> Weights;

    /// <summary>Word of its first block.</summary>
    public long First;

    /// <summary>Column of y of its first output.</summary>
    public int Column;

    /// <summary>How many of its outputs exist; 16 or more means all.</summary>
    public int Outputs;
}
