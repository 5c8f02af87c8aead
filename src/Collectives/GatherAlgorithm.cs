using TpServe.Kernels;

namespace TpServe.Collectives;

/// <summary>Exchanges columns: every rank's n × c_r elements travel as they lie, in chunks that fit a block; the reader lays them side by side.</summary>
/// <remarks>Numerics a copy of 4-byte words: no bit changes.</remarks>
internal sealed unsafe class GatherAlgorithm(IExchange exchange, int rank, int degree)
{
    /// <summary>As a reader: all ranks read.</summary>
    public const int Everyone = -1;

    /// <summary>y[:, firsts[r] .. firsts[r + 1]) ← rank r's x, on the reader or on everyone. A rank that does not read does not wait for its peers.</summary>
    public void Run(OperationContext operation, Tensor x, IReadOnlyList<int> firsts, Tensor y, int reader)
    {
        bool reads = reader == Everyone || reader == rank;
        int chunk = exchange.BlockBytes / sizeof(uint);
        int widest = 0;
        for (int r = 0; r < degree; r++)
            widest = Math.Max(widest, firsts[r + 1] - firsts[r]);

        long mine = (long)x.Rows * x.Columns, longest = (long)x.Rows * widest;
        uint* from = mine == 0 ? null : x.HostRow<uint>(0);
        uint* to = reads && (long)y.Rows * y.Columns > 0 ? y.HostRow<uint>(0) : null;

        // At least one round, even for nothing: ranks in another operation must be found.
        long first = 0;
        do
        {
            uint* block = (uint*)exchange.Open(operation);
            int count = Part(mine);
            Buffer.MemoryCopy(from + first, block, (long)count * sizeof(uint), (long)count * sizeof(uint));
            if (reader == Everyone)
                exchange.Publish(operation, count * sizeof(uint));
            else
                exchange.PublishTo(operation, reader, count * sizeof(uint));

            for (int r = 0; r < degree && reads; r++)
            {
                int width = firsts[r + 1] - firsts[r];
                int theirs = Part((long)x.Rows * width);
                uint* source = r == rank ? from + first : (uint*)exchange.Await(operation, r, 0, theirs * sizeof(uint));
                Scatter(source, first, theirs, width, to + firsts[r], y.Columns);
            }
            exchange.Close();
            first += chunk;
        } while (first < longest);

        // What a rank's elements contribute to the chunk that begins at first.
        int Part(long elements) => (int)Math.Clamp(elements - first, 0, chunk);
    }

    /// <summary>Elements [first, first + count) of a dense matrix of <paramref name="width"/> columns go to their rows of a wider one.</summary>
    private static void Scatter(uint* source, long first, int count, int width, uint* to, int stride)
    {
        while (count > 0)
        {
            (long row, long column) = Math.DivRem(first, width);
            int run = (int)Math.Min(width - column, count);
            Buffer.MemoryCopy(source, to + row * stride + column, (long)run * sizeof(uint), (long)run * sizeof(uint));
            source += run;
            first += run;
            count -= run;
        }
    }
}
