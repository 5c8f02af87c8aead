namespace TpServe.Model.Sampling;

/// <summary>A logit and its token as one number whose ascending order is: larger logit first, ties to the lower id.</summary>
/// <remarks>−0 counts as +0 and NaN as −∞, so that the order agrees with comparing the floats.</remarks>
internal static class LogitKey
{
    public static ulong Of(float logit, int id)
    {
        float plain = float.IsNaN(logit) ? float.NegativeInfinity : logit + 0f;
        uint bits = BitConverter.SingleToUInt32Bits(plain);
        uint ascending = (bits & 0x80000000) != 0 ? ~bits : bits | 0x80000000;
        return (ulong)~ascending << 32 | (uint)id;
    }

    public static int Id(ulong key) => (int)(uint)key;

    public static float Logit(ulong key)
    {
        uint ascending = ~(uint)(key >> 32);
        return BitConverter.UInt32BitsToSingle((ascending & 0x80000000) != 0 ? ascending & 0x7FFFFFFF : ~ascending);
    }
}
