namespace TpServe.Testing;

/// <summary>Seeded random numbers and the error measure of the tests.</summary>
public static class Numbers
{
    /// <summary>count values uniform in [-1, 1), the same for the same seed on every machine.</summary>
    public static float[] Uniform(int count, int seed)
    {
        Random random = new(seed);
        float[] values = new float[count];
        for (int i = 0; i < count; i++)
            values[i] = (float)(random.NextDouble() * 2 - 1);
        return values;
    }

    /// <summary>Normalised mean square error Σ(a-b)² / Σb²; b is the reference.</summary>
    public static double Nmse(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected)
    {
        if (actual.Length != expected.Length)
            throw new ArgumentException($"{actual.Length} values against {expected.Length}.");
        double error = 0, power = 0;
        for (int i = 0; i < actual.Length; i++)
        {
            double difference = (double)actual[i] - expected[i];
            error += difference * difference;
            power += (double)expected[i] * expected[i];
        }
        return power == 0 ? error : error / power;
    }
}
