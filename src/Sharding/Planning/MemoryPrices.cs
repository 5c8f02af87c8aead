using TpServe.Checkpoint.Config;

namespace TpServe.Sharding.Planning;

/// <summary>What a byte of each rank's memory is worth in seconds, and a lower bound that counts memory: by the linear program in which shares are fractions.</summary>
/// <remarks>
/// Primal: minimise Σ T[s,p] over segments s and phases p, where T[s,p] ≥ always[r,s,p] + seconds[r,s,p] · share[r,s], the shares of a segment add up to 1 and
/// Σ_s bytes[s] · share[r,s] ≤ room[r]. Solved is its dual, for which nothing at all is a feasible beginning: maximise Σ y[s] + Σ u · always − Σ price[r] · room[r]
/// where y[s] ≤ Σ_p u[r,s,p] · seconds[r,s,p] + price[r] · bytes[s] and Σ_r u[r,s,p] ≤ 1. Whatever u and prices come out, y follows from them, so the bound holds
/// whether or not the last pivot was made.
/// Source   Dantzig's simplex method; right sides are lifted a little against cycling.
/// </remarks>
/// <param name="Seconds">By rank, for each byte; 0 where there is room.</param>
/// <param name="Bound">No split of heads, leaves and vocabulary costs less, their pieces aside.</param>
/// <param name="RowBound">No split of the vocabulary costs less at these prices, which it pays too.</param>
internal sealed record MemoryPrices(double[] Seconds, double Bound, double RowBound)
{
    private const int Segments = 3, Phases = 2, MostPivots = 4000;
    private const double Lift = 1e-9, Nothing = 1e-12;

    public static MemoryPrices Of(CostModel costs, IReadOnlyList<int> chosen, double[] room)
    {
        // 1. The program in units of the model's bytes and of the seconds that it takes on one device.
        ModelConfig config = costs.Model.Config;
        int ranks = chosen.Count, variables = Segments + (ranks * Segments * Phases) + ranks, rows = (ranks * Segments) + (Segments * Phases);
        double[] bytes = [costs.Memory.Heads(config.Heads, config.KvHeads), costs.Memory.Columns(config.MlpColumns), costs.Memory.VocabRows(config.Vocab)];
        double allBytes = bytes.Sum(), unit = 0;
        double[] seconds = new double[ranks * Segments * Phases], always = new double[seconds.Length];
        for (int rank = 0; rank < ranks; rank++)
            for (int phase = 0; phase < Phases; phase++)
            {
                PhaseCosts of = costs.Phases[chosen[rank]][phase];
                double weight = costs.Weights[phase];
                Set(0, of.Attention.Always, (config.Heads * of.Attention.PerUnit) + (config.KvHeads * of.Attention.PerKvHead));
                Set(1, of.Mlp.Always, config.MlpColumns * of.Mlp.PerUnit);
                Set(2, of.Head.Always, config.Vocab * of.Head.PerUnit);

                void Set(int segment, ComputeParts fixedPart, ComputeParts whole)
                {
                    int at = At(rank, segment, phase);
                    (always[at], seconds[at]) = (weight * fixedPart.Total, weight * whole.Total);
                    if (rank == 0)
                        unit += always[at] + seconds[at];
                }
            }

        // 2. The dual's tableau: a row for each rank and segment, one for each segment and phase, and the objective.
        int columns = variables + rows + 1, firstPrice = Segments + seconds.Length;
        double[][] tableau = [.. Enumerable.Range(0, rows + 1).Select(_ => new double[columns])];
        for (int rank = 0; rank < ranks; rank++)
        {
            for (int segment = 0; segment < Segments; segment++)
            {
                double[] row = tableau[(rank * Segments) + segment];
                row[segment] = 1;
                row[firstPrice + rank] = -bytes[segment] / allBytes;
                for (int phase = 0; phase < Phases; phase++)
                {
                    int at = At(rank, segment, phase);
                    row[Segments + at] = -seconds[at] / unit;
                    tableau[(ranks * Segments) + (segment * Phases) + phase][Segments + at] = 1;
                    tableau[rows][Segments + at] = always[at] / unit;
                }
                row[columns - 1] = Lift * (1 + (rank * Segments) + segment) / rows;
            }
            tableau[rows][firstPrice + rank] = -Math.Max(0, room[rank]) / allBytes;
        }
        for (int row = 0; row < Segments * Phases; row++)
            tableau[(ranks * Segments) + row][columns - 1] = 1;
        for (int segment = 0; segment < Segments; segment++)
            tableau[rows][segment] = 1;
        for (int row = 0; row < rows; row++)
            tableau[row][variables + row] = 1;
        double[] solution = Solve(tableau, variables);

        // 3. A feasible point of the dual, whatever was left of rounding.
        double[] u = [.. Enumerable.Range(0, seconds.Length).Select(at => Math.Max(0, solution[Segments + at]))];
        double[] prices = [.. Enumerable.Range(0, ranks).Select(rank => Math.Max(0, solution[firstPrice + rank]) * unit / allBytes)];
        for (int segment = 0; segment < Segments; segment++)
            for (int phase = 0; phase < Phases; phase++)
            {
                double sum = Enumerable.Range(0, ranks).Sum(rank => u[At(rank, segment, phase)]);
                for (int rank = 0; rank < ranks && sum > 0; rank++)
                    u[At(rank, segment, phase)] /= sum;
            }
        double[] bounds = new double[Segments];
        for (int segment = 0; segment < Segments; segment++)
        {
            double least = double.PositiveInfinity, fixedParts = 0;
            for (int rank = 0; rank < ranks; rank++)
            {
                int prefill = At(rank, segment, 0), decode = At(rank, segment, 1);
                least = Math.Min(least, (u[prefill] * seconds[prefill]) + (u[decode] * seconds[decode]) + (prices[rank] * bytes[segment]));
                fixedParts += (u[prefill] * always[prefill]) + (u[decode] * always[decode]);
            }
            bounds[segment] = least + fixedParts;
        }
        double paid = Enumerable.Range(0, ranks).Sum(rank => prices[rank] * room[rank]);
        return new MemoryPrices(prices, (bounds.Sum() - paid) * (1 - Nothing), bounds[2] * (1 - Nothing));

        static int At(int rank, int segment, int phase) => (((rank * Segments) + segment) * Phases) + phase;
    }

    /// <summary>Pivots until no variable raises the objective; the values of the first <paramref name="variables"/> columns.</summary>
    private static double[] Solve(double[][] tableau, int variables)
    {
        int rows = tableau.Length - 1, last = tableau[0].Length - 1;
        int[] basis = [.. Enumerable.Range(variables, rows)];
        double[] objective = tableau[rows];
        for (int pivot = 0; pivot < MostPivots; pivot++)
        {
            int enter = 0;
            for (int column = 1; column < last; column++)
                if (objective[column] > objective[enter])
                    enter = column;
            if (objective[enter] <= Nothing)
                break;
            int leave = -1;
            for (int row = 0; row < rows; row++)
                if (tableau[row][enter] > Nothing && (leave < 0 || tableau[row][last] * tableau[leave][enter] < tableau[leave][last] * tableau[row][enter]))
                    leave = row;
            if (leave < 0)
                break; // unbounded: no fractions have room
            double[] pivotRow = tableau[leave];
            double scale = 1 / pivotRow[enter];
            for (int column = 0; column <= last; column++)
                pivotRow[column] *= scale;
            foreach (double[] row in tableau)
            {
                double factor = row[enter];
                if (ReferenceEquals(row, pivotRow) || factor == 0)
                    continue;
                for (int column = 0; column <= last; column++)
                    row[column] -= factor * pivotRow[column];
            }
            basis[leave] = enter;
        }
        double[] solution = new double[variables];
        for (int row = 0; row < rows; row++)
            if (basis[row] < variables)
                solution[basis[row]] = tableau[row][last];
        return solution;
    }
}
