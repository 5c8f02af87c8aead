namespace TpServe.Model.Sampling;

/// <summary>Philox4x32-10: random numbers as a function of key and counter, with no state between them.</summary>
/// <remarks>Source   Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", §4.</remarks>
public static class Philox
{
    private const int Rounds = 10;

    /// <summary>A number uniform in [0, 1) with 53 bits, for the token at <paramref name="position"/> of one output of a request.</summary>
    public static double Uniform(ulong seed, long position, int outputIndex) => (Fraction(seed, position, outputIndex) >> 11) * (1.0 / (1UL << 53));

    /// <summary>The same number times 2^64.</summary>
    public static ulong Fraction(ulong seed, long position, int outputIndex)
    {
        (uint high, uint low, _, _) = Block(
            ((uint)position, (uint)(position >> 32), (uint)outputIndex, 0), ((uint)seed, (uint)(seed >> 32)));
        return ((ulong)high << 32 | low) >> 11 << 11;
    }

    /// <summary>Four random words for a counter of four words under a key of two.</summary>
    public static (uint, uint, uint, uint) Block((uint A, uint B, uint C, uint D) counter, (uint Low, uint High) key)
    {
        (uint a, uint b, uint c, uint d) = counter;
        (uint low, uint high) = key;
        for (int round = 0; round < Rounds; round++)
        {
            ulong first = 0xD2511F53UL * a, second = 0xCD9E8D57UL * c;
            (a, b, c, d) = ((uint)(second >> 32) ^ b ^ low, (uint)second, (uint)(first >> 32) ^ d ^ high, (uint)first);
            low += 0x9E3779B9; // the golden ratio
            high += 0xBB67AE85; // √3 − 1
        }
        return (a, b, c, d);
    }
}
