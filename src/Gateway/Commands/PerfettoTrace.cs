using System.Globalization;
using System.Text.Json;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Commands;

/// <summary>Traced steps as a file of the Trace Event Format, which ui.perfetto.dev and chrome://tracing open.</summary>
/// <remarks>
/// One track a rank: its steps, in them the segments, in those the collective operations. An arrow goes from the rank that came last to an exchange, which is
/// the one that waited least, to the end of each other rank's part of it.
/// Source   Trace Event Format (Google, 2016): complete events (X), metadata (M), flow events (s, f).
/// </remarks>
internal static class PerfettoTrace
{
    private const int Process = 1;

    /// <summary>Writes the steps; times count from the first one's beginning.</summary>
    /// <param name="output">Where to; not closed.</param>
    /// <param name="server">What the process is called.</param>
    /// <param name="steps">In order.</param>
    public static void Write(Stream output, string server, IReadOnlyList<TracedStep> steps)
    {
        using Utf8JsonWriter json = new(output);
        long origin = steps.SelectMany(step => step.Ranks).Select(rank => rank.StartNanoseconds).DefaultIfEmpty().Min();
        long arrow = 0;
        json.WriteStartObject();
        json.WriteString("displayTimeUnit", "ns");
        json.WriteStartArray("traceEvents");
        WriteName(json, "process_name", 0, server);
        foreach (int rank in steps.SelectMany(step => step.Ranks).Select(rank => rank.Rank).Distinct().Order())
            WriteName(json, "thread_name", rank + 1, string.Create(CultureInfo.InvariantCulture, $"rank {rank}"));
        foreach (TracedStep step in steps)
        {
            foreach (TracedRank rank in step.Ranks)
                WriteRank(json, step, rank, origin);
            WriteArrows(json, step, origin, ref arrow);
        }
        json.WriteEndArray();
        json.WriteEndObject();
    }

    private static void WriteRank(Utf8JsonWriter json, TracedStep step, TracedRank rank, long origin)
    {
        long start = rank.StartNanoseconds - origin;
        Begin(json, "X", string.Create(CultureInfo.InvariantCulture, $"step {step.Step}"), "step", rank, start);
        json.WriteNumber("dur", Microseconds(rank.DurationNanoseconds));
        json.WriteStartObject("args");
        json.WriteNumber("epoch", step.Epoch);
        json.WriteNumber("rows", step.Rows);
        json.WriteNumber("sequences", step.Sequences);
        json.WriteEndObject();
        json.WriteEndObject();
        foreach (TraceSpan span in rank.Spans)
        {
            string name = span.HasLayer && !span.Collective ? string.Create(CultureInfo.InvariantCulture, $"{span.Name} {span.Layer}") : span.Name;
            Begin(json, "X", name, span.Collective ? "collective" : "segment", rank, start + span.StartNanoseconds);
            json.WriteNumber("dur", Microseconds(span.DurationNanoseconds));
            if (span.Collective)
            {
                json.WriteStartObject("args");
                json.WriteNumber("waited_us", Microseconds(span.WaitNanoseconds));
                json.WriteEndObject();
            }
            json.WriteEndObject();
        }
    }

    private static void WriteArrows(Utf8JsonWriter json, TracedStep step, long origin, ref long arrow)
    {
        TraceSpan[][] operations = [.. step.Ranks.Select(rank => rank.Spans.Where(span => span.Collective).ToArray())];
        if (operations.Length < 2)
            return;
        for (int i = 0; i < operations.Min(own => own.Length); i++)
        {
            int operation = i, last = Enumerable.Range(0, operations.Length).MinBy(rank => operations[rank][operation].WaitNanoseconds);
            for (int rank = 0; rank < operations.Length; rank++)
            {
                if (rank == last)
                    continue;
                arrow++;
                TraceSpan from = operations[last][i], to = operations[rank][i];
                Begin(json, "s", "exchange", "exchange", step.Ranks[last], step.Ranks[last].StartNanoseconds - origin + from.StartNanoseconds);
                json.WriteNumber("id", arrow);
                json.WriteEndObject();
                Begin(json, "f", "exchange", "exchange", step.Ranks[rank], step.Ranks[rank].StartNanoseconds - origin + to.StartNanoseconds + to.DurationNanoseconds);
                json.WriteNumber("id", arrow);
                json.WriteString("bp", "e");
                json.WriteEndObject();
            }
        }
    }

    private static void Begin(Utf8JsonWriter json, string phase, string name, string category, TracedRank rank, long nanoseconds)
    {
        json.WriteStartObject();
        json.WriteString("ph", phase);
        json.WriteString("name", name);
        json.WriteString("cat", category);
        json.WriteNumber("pid", Process);
        json.WriteNumber("tid", rank.Rank + 1);
        json.WriteNumber("ts", Microseconds(nanoseconds));
    }

    private static void WriteName(Utf8JsonWriter json, string what, int thread, string name)
    {
        json.WriteStartObject();
        json.WriteString("ph", "M");
        json.WriteString("name", what);
        json.WriteNumber("pid", Process);
        json.WriteNumber("tid", thread);
        json.WriteStartObject("args");
        json.WriteString("name", name);
        json.WriteEndObject();
        json.WriteEndObject();
    }

    private static decimal Microseconds(long nanoseconds) => nanoseconds / 1000m;
}
