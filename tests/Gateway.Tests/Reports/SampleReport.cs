using Google.Protobuf;
using Google.Protobuf.Collections;
using Google.Protobuf.Reflection;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Tests.Reports;

/// <summary>Reports as nobody has measured them.</summary>
internal static class SampleReport
{
    public static ReportVariant Variant(string name, int degree, double alone, double many, double spread = 0, string partition = "", bool baseline = false) => new()
    {
        Name = name,
        Degree = degree,
        Partition = partition,
        Wire = "f32",
        Baseline = baseline,
        Resources = 2,
        Resource = "threads",
        ReadySeconds = 2.5,
        Ttft = new ReportQuantiles { Count = 10, P50 = 50, P90 = 90, P99 = 99, Mean = 55 },
        Tpot = new ReportQuantiles { Count = 10, P50 = 1000 / alone, P90 = 1100 / alone, P99 = 1200 / alone, Mean = 1000 / alone },
        Itl = new ReportQuantiles { Count = 100, P50 = 1000 / alone, P90 = 1100 / alone, P99 = 1200 / alone, Mean = 1000 / alone },
        Loads = { Load(1, alone, spread, degree), Load(32, many, spread, degree) },
        Ranks = { Enumerable.Range(0, degree).Select(rank => new ReportRank { Rank = rank, Device = "cpu", Backend = "cpu avx2", Transport = "shm", Heads = new IndexRange { Start = rank, End = rank + 1 }, WeightBytes = 1 << 20 }) },
        ReadBytesPerSecond = 2e10,
        WeightBytesPerToken = 1 << 20,
        RooflineShare = 0.5,
    };

    public static TpReport Create() => new()
    {
        Release = "1.2.3",
        Created = "2026-01-02T03:04:05Z",
        Seconds = 120,
        Subject = new ReportSubject { Model = "tiny", Architecture = "llama", Summary = "tiny: llama, 2 layers", Cores = 2, Device = "cpu", System = "Linux" },
        Workload = new ReportWorkload { Source = "synthetic mix", Seed = 1, Prompts = 6, LeastPromptTokens = 20, MostPromptTokens = 200, OutputTokens = 48, WindowSeconds = 4 },
        Variants = { Variant("tp 1", 1, 100, 400), Variant("tp 2", 2, 120, 500), new ReportVariant { Name = "tp 9", Degree = 9, Fault = "it did not start" } },
        Equality = new ReportEquality { Compared = 1, Equal = 1, Values = 1000 },
        Quality = new ReportQuality { Text = "embedded", Tokens = 100, Perplexity = 12.5, WindowTokens = 256, Reference = new ReportReference { Positions = 100, Kl = 0.004, Top1 = 0.99, Perplexity = 12.4, ServedPerplexity = 12.5 }, Eval = new ReportEval { File = "q.jsonl", Items = 4, Accuracy = 0.5, NormalisedAccuracy = 0.75, MacroF1 = 0.4, NormalisedMacroF1 = 0.7 } },
        Recommendation = "Serve with --tp 2.",
        Notes = { "A note." },
    };

    /// <summary>Puts a text into every string there is, at every depth.</summary>
    public static void FillTexts(IMessage message, string text)
    {
        foreach (FieldDescriptor field in message.Descriptor.Fields.InDeclarationOrder())
            switch (field.FieldType)
            {
                case FieldType.String when field.IsRepeated:
                    RepeatedField<string> list = (RepeatedField<string>)field.Accessor.GetValue(message);
                    for (int i = 0; i < list.Count; i++)
                        list[i] = text;
                    break;
                case FieldType.String when field.Name != "fault":
                    field.Accessor.SetValue(message, text);
                    break;
                case FieldType.String:
                    if (((string)field.Accessor.GetValue(message)).Length > 0)
                        field.Accessor.SetValue(message, text); // without a fault it was measured
                    break;
                case FieldType.Message when field.IsRepeated:
                    foreach (object inner in (System.Collections.IEnumerable)field.Accessor.GetValue(message))
                        FillTexts((IMessage)inner, text);
                    break;
                case FieldType.Message:
                    if (field.Accessor.GetValue(message) is IMessage one)
                        FillTexts(one, text);
                    break;
            }
    }

    private static ReportLoad Load(int streams, double rate, double spread, int degree) => new()
    {
        Streams = streams,
        TokensPerSecond = rate,
        LeastTokensPerSecond = rate * (1 - (spread / 2)),
        MostTokensPerSecond = rate * (1 + (spread / 2)),
        PromptTokensPerSecond = 10,
        Ttft = new ReportQuantiles { Count = 1, P50 = 1, P90 = 2, P99 = 3, Mean = 1.5 },
        Itl = new ReportQuantiles { Count = 1, P50 = 1, P90 = 2, P99 = 3, Mean = 1.5 },
        HeldSecondsPer1000Tokens = 2000 / rate,
        CpuSecondsPer1000Tokens = 1900 / rate,
        SpeedUp = rate / 100,
        Efficiency = rate / 200,
        KarpFlatt = 0.1,
        AgainstOneWorker = 1.1,
        Ranks = { Enumerable.Range(0, degree).Select(rank => new ReportRankTime { Rank = rank, Steps = 100, ComputeSeconds = 3, WaitSeconds = 0.25 * rank, ExchangeSeconds = 0.5, IdleSeconds = 0.1 }) },
    };
}
