using System.Text;
using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Gateway.Commands.Planning;
using TpServe.Sharding.Planning;

namespace TpServe.Gateway.Tests.Commands;

public sealed class DeviceFileTests
{
    private const string Profile = """
        "profile": { "kind": "cpu", "memoryBytes": 1000000, "readBytesPerSecond": 2e10, "products": { "Q4_1": [[1, 5e-11], [32, 2e-10]] },
        "decodeAttentionSecondsPerByte": 1e-10, "prefillAttentionSecondsPerElement": 1e-12, "elementwiseSecondsPerFloat": 1e-10, "operationSeconds": 1e-6 }
        """;

    private static PlannedDevices Parse(string json) => DeviceFile.Parse(Encoding.UTF8.GetBytes(json), "devices.json", gpuMemory: 0.9, [TensorType.Q4_1, TensorType.BF16, TensorType.F32]);

    [Test]
    public void Parse_NamesAndCounts_TakesTheTablesFigures()
    {
        PlannedDevices devices = Parse("""{ "devices": [ { "name": "h100-sxm", "count": 2 }, { "name": "RTX-4090", "memoryGiB": 20 } ] }""");
        Assert.That(devices.Profiles.Select(device => device.Name), Is.EqualTo(new[] { "h100-sxm #0", "h100-sxm #1", "RTX-4090 #2" }));
        Assert.That(devices.Profiles[2].MemoryBytes, Is.EqualTo((long)(20 * (1L << 30) * 0.9)));
        Assert.That((devices.Links[0, 1].Transport, devices.Links[0, 2].Transport), Is.EqualTo((LinkTransport.CudaIpc, LinkTransport.SharedMemory)));
        Assert.That((devices.AreGpus, devices.IsDerived), Is.EqualTo((true, true)));
    }

    [Test]
    public void Parse_MeasuredProfilesAndLinks_TakesThemAsTheyAre()
    {
        PlannedDevices devices = Parse($$"""
            { "devices": [ { "name": "mine", "count": 2, {{Profile}} } ],
              "links": [ { "devices": [1, 0], "transport": "ring", "latencyMicroseconds": 80, "smallGBs": 0.5, "largeGBs": 1.5 } ] }
            """);
        Assert.That(devices.IsDerived, Is.False);
        Assert.That(devices.Profiles[1].ProductOf(TensorType.Q4_1).At(32), Is.EqualTo(2e-10));
        Assert.That(devices.Links[0, 1], Is.EqualTo(new LinkProfile(LinkTransport.Ring, 80 * 1e-6, 5e8, 1.5e9)));
    }

    [Test]
    public void Parse_SharesOfASocket_DivideWhatItHas()
    {
        PlannedDevices devices = Parse("""{ "devices": [ { "name": "CPU-2ch-DDR5-5600" }, { "name": "CPU-2ch-DDR5-5600", "share": 0.5 } ] }""");
        Assert.That(devices.Profiles[1].ReadBytesPerSecond, Is.EqualTo(devices.Profiles[0].ReadBytesPerSecond / 2));
        Assert.That(devices.Profiles[1].MemoryBytes, Is.EqualTo(devices.Profiles[0].MemoryBytes / 2).Within(1));
    }

    [TestCase("""[]""", "the file: [] is no object.")]
    [TestCase("""{}""", "devices: is missing.")]
    [TestCase("""{ "devices": [] }""", "devices: a list of 0; it has 1..64 elements.")]
    [TestCase("""{ "devices": [ { "name": "H100" } ] }""", "devices[0].name: 'H100' is not in the table")]
    [TestCase("""{ "devices": [ { "name": "L4", "count": 65 } ] }""", "devices[0].count: 65 is no whole number in 1..64.")]
    [TestCase("""{ "devices": [ { "name": "L4", "count": 40 }, { "name": "L4", "count": 40 } ] }""", "devices: 80 devices with their counts; at most 64.")]
    [TestCase("""{ "devices": [ { "name": "L4", "cuont": 2 } ] }""", "devices[0].cuont: no such field; the nearest is count.")]
    [TestCase("""{ "devices": [ { "name": "L4" } ], "link": [] }""", "link: no such field; the nearest is links.")]
    [TestCase("""{ "devices": [ { "name": "L4" }, { "name": "CPU-2ch-DDR4-3200" } ] }""", "devices: cuda and cpu together")]
    [TestCase("""{ "devices": [ { "name": "L4", "host": "a" }, { "name": "L4", "host": "b" } ] }""", "network: is missing; devices 0 and 1 are on hosts 'a' and 'b'.")]
    [TestCase("""{ "devices": [ { "name": "L4", "count": 2 } ], "links": [ { "devices": [0, 2], "transport": "shm", "latencyMicroseconds": 1, "smallGBs": 1, "largeGBs": 1 } ] }""", "links[0].devices[1]: 2 is no device in 0..1")]
    [TestCase("""{ "devices": [ { "name": "L4", "count": 2 } ], "links": [ { "devices": [0, 1], "transport": "usb", "latencyMicroseconds": -1, "smallGBs": 1, "largeGBs": 1 } ] }""", "links[0].latencyMicroseconds: -1 is no number in 0..10000000.")]
    [TestCase("""{ "devices": [ { "name": "mine", "sheet": { "kind": "tpu", "memoryGiB": 1, "readGBs": 1, "bf16Tflops": 1 } } ] }""", "devices[0].sheet.kind: 'tpu' is not one of cuda, cpu.")]
    [TestCase("""{ "devices": [ { "name": "mine", "profile": { "products": { "Q9": [] } } } ] }""", "devices[0].profile.products.Q9: no such weight format")]
    [TestCase("""{ "devices": [ { "name": "mine", "profile": { "products": { "Q4_1": [[8, 1e-10], [1, 1e-10]] } } } ] }""", "devices[0].profile.products.Q4_1: [[8, 1e-10], [1, 1e-10]] is no list of")]
    [TestCase("""{ "devices": 1, "devices": 2 }""", "is no JSON")]
    [TestCase("""{ "devices": [ { "name": 7 } ] }""", "devices[0].name: 7 is not a text of 1..128 characters.")]
    public void Parse_AFault_NamesPathValueAndLimit(string json, string expected)
    {
        DeviceFileException? fault = Assert.Throws<DeviceFileException>(() => Parse(json));
        Assert.That(fault!.Message, Does.StartWith("devices.json").And.Contain(expected));
    }

    [Test]
    public void Parse_SeveralFaults_NamesAll()
    {
        DeviceFileException? fault = Assert.Throws<DeviceFileException>(() => Parse("""{ "devices": [ { "name": "L4", "count": 0, "share": 2 } ], "network": { "latencyMicroseconds": 1 } }"""));
        Assert.That(fault!.Message, Does.Contain("devices[0].count: 0").And.Contain("devices[0].share: 2").And.Contain("network.gBs: is missing"));
    }

    [Test]
    public void Read_AFolder_IsRefused() =>
        Assert.That(Assert.Throws<DeviceFileException>(() => DeviceFile.Read(Path.GetTempPath(), 0.9, []))!.Message, Does.Contain("is a folder"));

    [Test]
    public void Table_EveryRow_HasSourcesAndFasterProductsThanItsLinks()
    {
        Assert.That(DeviceTable.All, Has.Count.GreaterThanOrEqualTo(15));
        Assert.That(DeviceTable.All.Select(sheet => sheet.Name), Is.Unique);
        foreach (DeviceSheet sheet in DeviceTable.All)
        {
            Assert.That(sheet.Sources, Is.Not.Empty, sheet.Name);
            Assert.That(sheet.Basis, Is.Not.Empty, sheet.Name);
            Assert.That(sheet.ReadGBs, Is.GreaterThan(Math.Max(sheet.LinkGBs, sheet.PcieGBs)), sheet.Name);
            DerivedRates.Profile(sheet, sheet.Name, share: 1, gpuMemory: 0.9, [TensorType.BF16, TensorType.Q4_K]).Check();
        }
    }
}
