using System.Buffers.Binary;
using Google.Protobuf;
using Google.Protobuf.WellKnownTypes;
using TpServe.Protos.TensorBoard;

namespace TpServe.Gateway.Reports.TensorBoard;

/// <summary>Writes a file of events as TensorBoard reads them.</summary>
/// <remarks>A record is its length (uint64), that length's masked CRC-32C, the event, and the event's masked CRC-32C; all little-endian. The first one names the format.</remarks>
/// <param name="output">Where records go; the caller's to dispose.</param>
/// <param name="wallTime">Seconds since 1970 that every event bears.</param>
internal sealed class EventFile(Stream output, double wallTime)
{
    private const string Version = "brain.Event:2";
    private const string ExperimentTag = "_hparams_/experiment", StartTag = "_hparams_/session_start_info", EndTag = "_hparams_/session_end_info";

    /// <summary>Writes the first record. Must come before all others.</summary>
    public void Begin() => Write(new Event { WallTime = wallTime, FileVersion = Version });

    /// <summary>A point of a series.</summary>
    public void Scalar(string tag, long step, double value) => Write(step, new SummaryValue
    {
        Tag = tag,
        Metadata = new SummaryMetadata { PluginData = new PluginData { PluginName = "scalars" }, DataClass = DataClass.Scalar },
        Tensor = new TensorProto { Dtype = TensorType.DtFloat, TensorShape = new TensorShapeProto(), FloatVal = { (float)value } },
    });

    /// <summary>A text in Markdown.</summary>
    public void Text(string tag, string markdown) => Write(0, new SummaryValue
    {
        Tag = tag,
        Metadata = new SummaryMetadata { PluginData = new PluginData { PluginName = "text" }, DataClass = DataClass.Tensor },
        Tensor = new TensorProto { Dtype = TensorType.DtString, TensorShape = new TensorShapeProto(), StringVal = { ByteString.CopyFromUtf8(markdown) } },
    });

    /// <summary>What the runs below this file's folder vary and what they measure. Once, in the file of the top folder.</summary>
    /// <param name="texts">Names of what is varied as text.</param>
    /// <param name="numbers">Names of what is varied as a number.</param>
    /// <param name="metrics">Tags of scalars in each run.</param>
    public void Experiment(IEnumerable<string> texts, IEnumerable<string> numbers, IEnumerable<string> metrics)
    {
        Experiment experiment = new() { TimeCreatedSecs = wallTime };
        experiment.HparamInfos.AddRange(texts.Select(name => new HParamInfo { Name = name, Type = HParamType.DataTypeString }));
        experiment.HparamInfos.AddRange(numbers.Select(name => new HParamInfo { Name = name, Type = HParamType.DataTypeFloat64 }));
        experiment.MetricInfos.AddRange(metrics.Select(tag => new MetricInfo { Name = new MetricName { Tag = tag } }));
        Hparams(ExperimentTag, new HParamsPluginData { Experiment = experiment });
    }

    /// <summary>What this run was made with.</summary>
    public void Session(string group, IReadOnlyDictionary<string, string> texts, IReadOnlyDictionary<string, double> numbers)
    {
        SessionStartInfo start = new() { GroupName = group, StartTimeSecs = wallTime };
        foreach ((string name, string text) in texts)
            start.Hparams.Add(name, Value.ForString(text));
        foreach ((string name, double number) in numbers)
            start.Hparams.Add(name, Value.ForNumber(number));
        Hparams(StartTag, new HParamsPluginData { SessionStartInfo = start });
        Hparams(EndTag, new HParamsPluginData { SessionEndInfo = new SessionEndInfo { Status = SessionStatus.StatusSuccess, EndTimeSecs = wallTime } });
    }

    // The plugin reads the metadata alone; the tensor without elements is what makes the value one.
    private void Hparams(string tag, HParamsPluginData data) => Write(0, new SummaryValue
    {
        Tag = tag,
        Metadata = new SummaryMetadata { PluginData = new PluginData { PluginName = "hparams", Content = data.ToByteString() }, DataClass = DataClass.Tensor },
        Tensor = new TensorProto { Dtype = TensorType.DtFloat, TensorShape = new TensorShapeProto { Dim = { new TensorShapeProto.Types.Dim { Size = 0 } } } },
    });

    private void Write(long step, SummaryValue value) => Write(new Event { WallTime = wallTime, Step = step, Summary = new Summary { Value = { value } } });

    private void Write(Event happened)
    {
        byte[] data = happened.ToByteArray();
        Span<byte> header = stackalloc byte[12], footer = stackalloc byte[4];
        BinaryPrimitives.WriteUInt64LittleEndian(header, (ulong)data.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(header[8..], Crc32C.Masked(header[..8]));
        BinaryPrimitives.WriteUInt32LittleEndian(footer, Crc32C.Masked(data));
        output.Write(header);
        output.Write(data);
        output.Write(footer);
    }
}
