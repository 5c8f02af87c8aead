namespace TpServe.Kernels.Reference;

/// <summary>Operations on single elements; transcendental functions in float64, rounded to float32 once.</summary>
internal static unsafe class ReferenceElementwise
{
    /// <summary>y[:, i] = act(x[:, i]) · x[:, m + i].</summary>
    public static void GatedActivation(Tensor x, Activation activation, Tensor y)
    {
        Require.Shape(x, y.Rows, 2 * y.Columns);
        Require.Type(y, ElementType.Float32);
        for (int row = 0; row < y.Rows; row++)
        {
            float* gate = x.HostRow<float>(row);
            float* up = gate + y.Columns;
            float* target = y.HostRow<float>(row);
            for (int i = 0; i < y.Columns; i++)
                target[i] = (float)(Activate(gate[i], activation) * up[i]);
        }
    }

    /// <summary>x ← f(x).</summary>
    public static void Activate(Tensor x, PlainActivation activation)
    {
        Require.Type(x, ElementType.Float32);
        for (int row = 0; row < x.Rows; row++)
        {
            float* values = x.HostRow<float>(row);
            for (int i = 0; i < x.Columns; i++)
                values[i] = (float)(activation switch
                {
                    PlainActivation.Gelu => values[i] * HalfErfc(-values[i] / Math.Sqrt(2)),
                    PlainActivation.GeluTanh => Activate(values[i], Activation.GeluTanh),
                    _ => throw new ArgumentOutOfRangeException(nameof(activation), activation, "unknown activation"),
                });
        }
    }

    /// <summary>x ← x + scale · y, one rounding.</summary>
    public static void AddScaled(Tensor x, Tensor y, float scale)
    {
        Require.Type(x, ElementType.Float32);
        Require.Shape(y, x.Rows, x.Columns);
        for (int row = 0; row < x.Rows; row++)
            for (int i = 0; i < x.Columns; i++)
                x.HostRow<float>(row)[i] = MathF.FusedMultiplyAdd(scale, y.HostRow<float>(row)[i], x.HostRow<float>(row)[i]);
    }

    /// <summary>x ← x + bias on every row.</summary>
    public static void AddRow(Tensor x, Tensor bias)
    {
        Require.Type(x, ElementType.Float32);
        Require.Shape(bias, 1, x.Columns);
        for (int row = 0; row < x.Rows; row++)
            for (int i = 0; i < x.Columns; i++)
                x.HostRow<float>(row)[i] += bias.HostRow<float>(0)[i];
    }

    /// <summary>x ← scale · x.</summary>
    public static void Scale(Tensor x, float scale)
    {
        Require.Type(x, ElementType.Float32);
        for (int row = 0; row < x.Rows; row++)
            for (int i = 0; i < x.Columns; i++)
                x.HostRow<float>(row)[i] *= scale;
    }

    /// <summary>x ← cap · tanh(x / cap).</summary>
    public static void Softcap(Tensor x, float cap)
    {
        Require.Type(x, ElementType.Float32);
        Require.That(cap > 0, $"A soft cap of {cap} is not positive.");
        for (int row = 0; row < x.Rows; row++)
            for (int i = 0; i < x.Columns; i++)
                x.HostRow<float>(row)[i] = (float)(cap * Math.Tanh(x.HostRow<float>(row)[i] / (double)cap));
    }

    /// <summary>Rotates pairs (i, i + rotary/2) of every head by the angle of the row's position.</summary>
    public static void Rope(Tensor x, Tensor positions, Tensor table, int headDim)
    {
        int rotary = table.Columns, half = rotary / 2;
        Require.Groups(x, headDim);
        Require.Type(x, ElementType.Float32);
        Require.Type(table, ElementType.Float32);
        Require.Shape(positions, x.Rows, 1, ElementType.Int32);
        Require.That(rotary % 2 == 0 && rotary <= headDim, $"A rotary width of {rotary} does not fit a head of {headDim}.");
        for (int row = 0; row < x.Rows; row++)
        {
            float* angles = table.HostRow<float>(Position(positions, row, table.Rows));
            for (int head = 0; head < x.Columns; head += headDim)
            {
                float* values = x.HostRow<float>(row) + head;
                for (int i = 0; i < half; i++)
                {
                    double a = values[i], b = values[i + half], cos = angles[i], sin = angles[i + half];
                    values[i] = (float)(a * cos - b * sin);
                    values[i + half] = (float)(b * cos + a * sin);
                }
            }
        }
    }

    /// <summary>erfc(z) / 2: the power series of erf near 0, the continued fraction of erfc beyond (Abramowitz and Stegun, 7.1.5 and 7.1.14).</summary>
    private static double HalfErfc(double z)
    {
        const double SeriesBelow = 3;
        const int Terms = 80;
        double magnitude = Math.Abs(z);
        if (magnitude < SeriesBelow)
        {
            double sum = 0, power = z;
            for (int n = 0; n < Terms; power *= -z * z / ++n)
                sum += power / (2 * n + 1);
            return 0.5 - sum / Math.Sqrt(Math.PI);
        }
        double fraction = magnitude;
        for (int n = Terms; n > 0; n--)
            fraction = magnitude + n / 2.0 / fraction;
        double tail = Math.Exp(-magnitude * magnitude) / (2 * Math.Sqrt(Math.PI) * fraction);
        return z > 0 ? tail : 1 - tail;
    }

    private static int Position(Tensor positions, int row, int limit)
    {
        int position = positions.HostRow<int>(row)[0];
        Require.That((uint)position < (uint)limit, $"Position {position} of row {row} is not in the rotary table of {limit} positions.");
        return position;
    }

    internal static double Activate(double x, Activation activation) => activation switch
    {
        Activation.Silu => x / (1 + Math.Exp(-x)),
        Activation.GeluTanh => x / 2 * (1 + Math.Tanh(Math.Sqrt(2 / Math.PI) * (x + 0.044715 * x * x * x))),
        _ => throw new ArgumentOutOfRangeException(nameof(activation), activation, "unknown activation"),
    };
}
