using Microsoft.Extensions.Logging.Abstractions;
using NUnit.Framework;
using TpServe.Gateway.Workers;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Tests.Workers;

/// <summary>What is kept of measured workers, and what of it is believed.</summary>
public sealed class ProfileCacheTests
{
    private const string Key = "rank 0\nrank 1\nshm", Release = "1.0";

    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("tpserve-profiles-").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    private ProfileCache Cache(string release = Release) => new(Path.Combine(_folder, "new", "tpserve"), release, NullLogger.Instance);

    private static GroupMeasurement Measured() => new(
        [new MeasureReply { Device = "cpu", OperationSeconds = 1.25e-6, Products = { new ProductTimes { Format = 3, Points = { new ProductTimes.Types.Point { Rows = 1, SecondsPerByte = 0.1 + 0.2 } } } } }, new MeasureReply()],
        [new MeasureLinkReply { LatencySeconds = 1e-6 }], 2e-4, new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero));

    private string File => Directory.GetFiles(_folder, "*", SearchOption.AllDirectories).Single();

    [Test]
    public void Read_WhatWasWritten_IsTheSameToTheLastBit()
    {
        Cache().Write(Key, Measured());
        GroupMeasurement kept = Cache().Read(Key)!;
        Assert.That(kept.Devices, Is.EqualTo(Measured().Devices));
        Assert.That(kept.Pairs, Is.EqualTo(Measured().Pairs));
        Assert.That(kept.RoundTripSeconds, Is.EqualTo(2e-4));
        Assert.That(kept.At, Is.EqualTo(Measured().At));
        Cache().Write(Key, Measured() with { At = DateTimeOffset.UnixEpoch });
        Assert.That((Cache().Read(Key)!.At, File), Is.EqualTo((DateTimeOffset.UnixEpoch, File)), "one file is replaced as a whole");
    }

    [Test]
    public void Read_OtherReleaseOrKey_IsNone()
    {
        Cache().Write(Key, Measured());
        Assert.That(Cache("1.1").Read(Key), Is.Null);
        Assert.That(Cache().Read(Key + "2"), Is.Null);
    }

    [TestCase("")]
    [TestCase("no json")]
    [TestCase("{}")]
    [TestCase("[1, 2]")]
    [TestCase("{\"release\": \"1.0\", \"key\": 5}")]
    [TestCase("{\"release\": \"1.0\", \"key\": \"rank 0\\nrank 1\\nshm\", \"at\": \"2026-01-02T03:04:05Z\", \"devices\": [{}], \"pairs\": []}")]
    [TestCase("{\"release\": \"1.0\", \"key\": \"rank 0\\nrank 1\\nshm\", \"at\": \"2026-01-02T03:04:05Z\", \"roundTripSeconds\": 0, \"devices\": [{}, {\"speed\": 5}], \"pairs\": [{}]}")]
    [TestCase("{\"release\": \"1.0\", \"key\": \"rank 0\\nrank 1\\nshm\", \"at\": \"tomorrow\", \"roundTripSeconds\": 0, \"devices\": [{}, {}], \"pairs\": [{}]}")]
    public void Read_CorruptOrForeignFile_IsNone(string content)
    {
        Cache().Write(Key, Measured());
        System.IO.File.WriteAllText(File, content);
        Assert.That(Cache().Read(Key), Is.Null);
    }

    [Test]
    public void Write_WhereNothingCanBeWritten_IsPassedOver()
    {
        string file = Path.Combine(_folder, "file");
        System.IO.File.WriteAllText(file, "in the way");
        ProfileCache cache = new(file, Release, NullLogger.Instance);
        Assert.That(() => cache.Write(Key, Measured()), Throws.Nothing);
        Assert.That(cache.Read(Key), Is.Null);
    }

    [TestCase("off", "/x/cache", "/home/me", null)]
    [TestCase("/given", "/x/cache", "/home/me", "/given")]
    [TestCase("", "/x/cache", "/home/me", "/x/cache/tpserve")]
    [TestCase("", "relative", "/home/me", "/home/me/.cache/tpserve")]
    [TestCase("", null, "/home/me", "/home/me/.cache/tpserve")]
    [TestCase("", null, null, null)]
    public void FolderOf_SettingAndEnvironment_IsTheUsersCache(string setting, string? xdg, string? home, string? expected)
    {
        List<KeyValuePair<string, string>> environment = [];
        if (xdg is not null)
            environment.Add(new("XDG_CACHE_HOME", xdg));
        if (home is not null)
            environment.Add(new("HOME", home));
        Assert.That(ProfileCache.FolderOf(setting, environment), Is.EqualTo(expected));
    }
}
