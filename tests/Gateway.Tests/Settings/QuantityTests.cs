using NUnit.Framework;
using TpServe.Gateway.Settings;

namespace TpServe.Gateway.Tests.Settings;

/// <summary>Durations and sizes as people write them.</summary>
public sealed class QuantityTests
{
    [TestCase("5", 5_000)]
    [TestCase("0", 0)]
    [TestCase("0.25", 250)]
    [TestCase("500ms", 500)]
    [TestCase("5s", 5_000)]
    [TestCase("2m", 120_000)]
    [TestCase("1.5h", 5_400_000)]
    [TestCase("1H", 3_600_000)]
    [TestCase("00:10:00", 600_000)]
    [TestCase("00:00:00.100", 100)]
    [TestCase("1.02:00:00", 93_600_000)]
    public void Durations_TryParse_ReadsSecondsUnitsAndClockTimes(string text, int milliseconds)
    {
        Assert.That(Durations.TryParse(text, out TimeSpan duration), Is.True);
        Assert.That(duration, Is.EqualTo(TimeSpan.FromMilliseconds(milliseconds)));
        Assert.That(Durations.TryParse(Durations.Format(duration), out TimeSpan again) ? again : TimeSpan.MinValue, Is.EqualTo(duration));
    }

    [TestCase("")]
    [TestCase("s")]
    [TestCase("-5")]
    [TestCase("5d")]
    [TestCase("10:00")]
    [TestCase("-00:00:05")]
    [TestCase("00:00:61")]
    [TestCase("1e3")]
    [TestCase("99999999999999999999h")]
    [TestCase("five")]
    public void Durations_TryParse_RefusesTheRest(string text) => Assert.That(Durations.TryParse(text, out _), Is.False);

    [TestCase(0, "0s")]
    [TestCase(100, "100ms")]
    [TestCase(10_000, "10s")]
    [TestCase(120_000, "2m")]
    [TestCase(90_000, "90s")]
    [TestCase(7_200_000, "2h")]
    public void Durations_Format_TakesTheLargestWholeUnit(int milliseconds, string text) => Assert.That(Durations.Format(TimeSpan.FromMilliseconds(milliseconds)), Is.EqualTo(text));

    [TestCase("0B", 0)]
    [TestCase("1024B", 1024)]
    [TestCase("64KiB", 65536)]
    [TestCase("1.5MiB", 1572864)]
    [TestCase("2gib", 2147483648)]
    [TestCase("1TiB", 1099511627776)]
    public void ByteSizes_TryParse_ReadsBinaryUnits(string text, long expected)
    {
        Assert.That(ByteSizes.TryParse(text, out long bytes) ? bytes : -1, Is.EqualTo(expected));
        Assert.That(ByteSizes.TryParse(ByteSizes.Format(bytes), out long again) ? again : -1, Is.EqualTo(expected));
    }

    [TestCase("")]
    [TestCase("1024")]
    [TestCase("MiB")]
    [TestCase("2GB")]
    [TestCase("-1MiB")]
    [TestCase("99999999999TiB")]
    public void ByteSizes_TryParse_RefusesTheRest(string text) => Assert.That(ByteSizes.TryParse(text, out _), Is.False);

    [TestCase("auto", null, null)]
    [TestCase("32768", 32768, null)]
    [TestCase("512MiB", null, 536870912L)]
    public void KvCacheSize_TryParse_TellsTokensFromBytes(string text, int? tokens, long? bytes)
    {
        Assert.That(KvCacheSize.TryParse(text, out KvCacheSize size), Is.True);
        Assert.That((size.Tokens, size.Bytes, size.ToString()), Is.EqualTo((tokens, bytes, text)));
    }

    [TestCase("TPSERVE_TPP", "TPSERVE_TP")]
    [TestCase("maxrunnin", "MaxRunning")]
    [TestCase("KvCacheTokens", "KvCache")]
    public void Nearest_MisspeltName_IsTheOneMeant(string name, string expected) =>
        Assert.That(Spelling.Nearest(name, ["TPSERVE_TP", "TPSERVE_HTTP", "MaxRunning", "MaxStepTokens", "KvCache", "KvDtype"]), Is.EqualTo(expected));
}
