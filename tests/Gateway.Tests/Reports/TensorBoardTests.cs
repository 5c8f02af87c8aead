using System.Buffers.Binary;
using System.Text;
using NUnit.Framework;
using TpServe.Gateway.Reports.TensorBoard;

namespace TpServe.Gateway.Tests.Reports;

/// <summary>Event files against bytes known from elsewhere, and read back by code that shares nothing with what wrote them.</summary>
public sealed class TensorBoardTests
{
    // RFC 3720, appendix B.4; the last two are the iSCSI read command there, and the check value of CRC catalogues.
    private static readonly (byte[] Bytes, uint Crc)[] Vectors =
    [
        (new byte[32], 0x8A9136AA),
        ([.. Enumerable.Repeat((byte)0xFF, 32)], 0x62A8AB43),
        ([.. Enumerable.Range(0, 32).Select(i => (byte)i)], 0x46DD794E),
        ([.. Enumerable.Range(0, 32).Select(i => (byte)(31 - i))], 0x113FDB5C),
        (Convert.FromHexString("01C00000000000000000000000000000" + "14000000" + "00000400" + "00000014" + "00000018" + "28000000" + "00000000" + "02000000" + "00000000"), 0xD9963A56),
        ([.. "123456789"u8], 0xE3069283),
    ];

    [TestCaseSource(nameof(Vectors))]
    public void Crc_KnownVectors_AreMatched((byte[] Bytes, uint Crc) vector) => Assert.That(Crc32C.Of(vector.Bytes), Is.EqualTo(vector.Crc));

    /// <summary>The first record of a file that TensorFlow wrote, as TensorBoard's own tests hold it.</summary>
    [Test]
    public void Begin_AtAKnownTime_IsTheRecordThatTensorFlowWrote()
    {
        byte[] expected = [.. Convert.FromHexString("1800000000000000" + "A37F4B22" + "0900008038" + "99D6D7411A0D"), .. "brain.Event:2"u8, .. Convert.FromHexString("124B36AB")];
        double wallTime = BinaryPrimitives.ReadDoubleLittleEndian(Convert.FromHexString("0000803899D6D741"));
        using MemoryStream bytes = new();
        new EventFile(bytes, wallTime).Begin();
        Assert.That(Convert.ToHexString(bytes.ToArray()), Is.EqualTo(Convert.ToHexString(expected)));
    }

    /// <summary>Worked out by hand from the original's field numbers; a time of 0 is not sent.</summary>
    [Test]
    public void Scalar_Small_HasTheBytesWorkedOutByHand()
    {
        using MemoryStream bytes = new();
        new EventFile(bytes, 0).Scalar("a", 3, 1.5);
        string expected = "1003" + "2A20" // step 3; summary of 32 bytes
            + "0A1E" + "0A0161" // value of 30 bytes; tag "a"
            + "420A" + "0801" + "1200" + "2A040000C03F" // tensor: float, no dimensions, 1.5
            + "4A0D" + "0A09" + "0A07" + Convert.ToHexString("scalars"u8) + "2001"; // metadata: plugin, scalar class
        Assert.That(Convert.ToHexString(Payloads(bytes.ToArray()).Single()), Is.EqualTo(expected));
    }

    [Test]
    public void Text_AndHparams_AreFoundWhereTensorBoardLooks()
    {
        using MemoryStream bytes = new();
        EventFile file = new(bytes, 1.25);
        file.Begin();
        file.Text("words", "**bold** – “x”");
        file.Experiment(["partition"], ["degree"], ["speed"]);
        file.Session("tp 2", new Dictionary<string, string> { ["partition"] = "even" }, new Dictionary<string, double> { ["degree"] = 2 });
        List<Field[]> events = [.. Payloads(bytes.ToArray()).Select(Read)];
        Assert.That(events, Has.Count.EqualTo(5));
        Assert.That(events.Select(one => BitConverter.Int64BitsToDouble((long)one.Single(field => field.Number == 1).Value)), Is.All.EqualTo(1.25));

        Field[] text = Value(events[1]);
        Assert.That(Utf8(text, 1), Is.EqualTo("words"));
        Assert.That(Utf8(Inner(Inner(text, 9), 1), 1), Is.EqualTo("text"));
        Assert.That(Inner(text, 8).Single(field => field.Number == 1).Value, Is.EqualTo(7), "DT_STRING");
        Assert.That(Utf8(Inner(text, 8), 8), Is.EqualTo("**bold** – “x”"));

        Field[] experiment = Hparams(events[2], "_hparams_/experiment", 2);
        Assert.That(experiment.Where(field => field.Number == 4).Select(info => Utf8(Read(info.Bytes), 1)), Is.EqualTo(new[] { "partition", "degree" }));
        Assert.That(experiment.Where(field => field.Number == 4).Select(info => Read(info.Bytes).Single(field => field.Number == 4).Value), Is.EqualTo(new ulong[] { 1, 3 }));
        Assert.That(Utf8(Inner(Inner(experiment, 5), 1), 2), Is.EqualTo("speed"));

        Field[] start = Hparams(events[3], "_hparams_/session_start_info", 3);
        Assert.That(Utf8(start, 4), Is.EqualTo("tp 2"));
        Dictionary<string, Field[]> entries = start.Where(field => field.Number == 1).Select(field => Read(field.Bytes)).ToDictionary(entry => Utf8(entry, 1), entry => Inner(entry, 2));
        Assert.That(Utf8(entries["partition"], 3), Is.EqualTo("even"), "google.protobuf.Value.string_value");
        Assert.That(BitConverter.Int64BitsToDouble((long)entries["degree"].Single(field => field.Number == 2).Value), Is.EqualTo(2), "google.protobuf.Value.number_value");
        Assert.That(Hparams(events[4], "_hparams_/session_end_info", 4).Single(field => field.Number == 1).Value, Is.EqualTo(1), "success");
    }

    [Test]
    public void Runs_OfAReport_AreOneForEachGroupAndTheExperiment()
    {
        DateTimeOffset at = DateTimeOffset.FromUnixTimeMilliseconds(1_700_000_000_500);
        (string Folder, string Name, byte[] Content)[] runs = [.. TensorBoardRuns.Of(SampleReport.Create(), at)];
        Assert.That(runs.Select(run => run.Folder), Is.EqualTo(new[] { "", "tp-1", "tp-2" }));
        Assert.That(runs.Select(run => run.Name), Is.All.EqualTo("events.out.tfevents.1700000000.tpserve"));
        Dictionary<(string, ulong), double> scalars = [];
        foreach (Field[] one in Payloads(runs[2].Content).Skip(1).Select(Read))
        {
            Field[] value = Value(one);
            if (Utf8(Inner(Inner(value, 9), 1), 1) == "scalars")
                scalars[(Utf8(value, 1), one.SingleOrDefault(field => field.Number == 2).Value)] = BinaryPrimitives.ReadSingleLittleEndian(Inner(value, 8).Single(field => field.Number == 5).Bytes);
        }
        Assert.That(scalars[("by_streams/tokens_per_second", 32)], Is.EqualTo(500));
        Assert.That(scalars[("percentiles_ms/ttft", 90)], Is.EqualTo(90));
        Assert.That(scalars[("rank_1/wait_seconds", 1)], Is.EqualTo(0.25));
        Assert.That(scalars[("tokens_per_second/most_streams", 0)], Is.EqualTo(500), "a metric of the experiment");
    }

    private static Field[] Value(Field[] happened) => Inner(Inner(happened, 5), 1);

    private static Field[] Hparams(Field[] happened, string tag, int kind)
    {
        Field[] value = Value(happened), plugin = Inner(Inner(value, 9), 1);
        Assert.That(Utf8(value, 1), Is.EqualTo(tag));
        Assert.That(Utf8(plugin, 1), Is.EqualTo("hparams"));
        Assert.That(Inner(value, 8), Is.Not.Empty, "a value has a tensor");
        return Inner(Inner(plugin, 2), kind);
    }

    /// <summary>The events of a file; fails where a checksum or a length is wrong.</summary>
    private static List<byte[]> Payloads(byte[] file)
    {
        List<byte[]> payloads = [];
        for (int at = 0; at < file.Length;)
        {
            int length = (int)BinaryPrimitives.ReadUInt64LittleEndian(file.AsSpan(at));
            Assert.That(BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at + 8)), Is.EqualTo(SlowMaskedCrc(file.AsSpan(at, 8))));
            byte[] data = file.AsSpan(at + 12, length).ToArray();
            Assert.That(BinaryPrimitives.ReadUInt32LittleEndian(file.AsSpan(at + 12 + length)), Is.EqualTo(SlowMaskedCrc(data)));
            payloads.Add(data);
            at += length + 16;
        }
        return payloads;
    }

    /// <summary>Bit by bit, as the polynomial says.</summary>
    private static uint SlowMaskedCrc(ReadOnlySpan<byte> bytes)
    {
        uint crc = 0xFFFFFFFF;
        foreach (byte one in bytes)
        {
            crc ^= one;
            for (int bit = 0; bit < 8; bit++)
                crc = (crc & 1) != 0 ? (crc >> 1) ^ 0x82F63B78 : crc >> 1;
        }
        crc = ~crc;
        return unchecked(((crc >> 15) | (crc << 17)) + 0xA282EAD8);
    }

    /// <summary>A field as it lies in a message: varint and fixed ones have a value, the others bytes.</summary>
    private readonly record struct Field(int Number, ulong Value, byte[] Bytes);

    private static Field[] Read(byte[] message)
    {
        List<Field> fields = [];
        int at = 0;
        while (at < message.Length)
        {
            ulong key = Varint();
            switch (key & 7)
            {
                case 0:
                    fields.Add(new Field((int)(key >> 3), Varint(), []));
                    break;
                case 1:
                    fields.Add(new Field((int)(key >> 3), BinaryPrimitives.ReadUInt64LittleEndian(message.AsSpan(at)), []));
                    at += 8;
                    break;
                case 2:
                    int length = (int)Varint();
                    fields.Add(new Field((int)(key >> 3), 0, message.AsSpan(at, length).ToArray()));
                    at += length;
                    break;
                default:
                    Assert.Fail($"wire type {key & 7}");
                    break;
            }
        }
        return [.. fields];

        ulong Varint()
        {
            ulong value = 0;
            for (int shift = 0; ; shift += 7)
            {
                byte one = message[at++];
                value |= (ulong)(one & 0x7F) << shift;
                if (one < 0x80)
                    return value;
            }
        }
    }

    private static Field[] Inner(Field[] fields, int number) => Read(fields.Single(field => field.Number == number).Bytes);

    private static string Utf8(Field[] fields, int number) => Encoding.UTF8.GetString(fields.Single(field => field.Number == number).Bytes);
}
