using NUnit.Framework;
using Serilog;
using Serilog.Core;
using Serilog.Events;
using TpServe.Gateway.Commands;
using TpServe.Gateway.Tests.Engine;

namespace TpServe.Gateway.Tests.Commands;

/// <summary>The framework's complaints about what strangers send, a few a minute.</summary>
public sealed class ServerLogTests
{
    [Test]
    public void FrameworkLines_OfOneSourceInAMinute_AreSomeAndTheRestIsCounted()
    {
        ManualTime time = new();
        Kept kept = new();
        using Logger log = new LoggerConfiguration().Filter.With(new FrameworkLines(time)).WriteTo.Sink(kept).CreateLogger();
        Send("Microsoft.AspNetCore.Server.Kestrel.Http2", 1000);
        Send("Grpc.AspNetCore.Server.ServerCallHandler", 3);
        Send("TpServe.Gateway.Engine.InferenceEngine", 100);
        Assert.That(kept.Lines.GroupBy(Source).Select(source => (source.Key, source.Count())), Is.EquivalentTo(new[]
        {
            ("Microsoft.AspNetCore.Server.Kestrel.Http2", FrameworkLines.MostLines), ("Grpc.AspNetCore.Server.ServerCallHandler", 3), ("TpServe.Gateway.Engine.InferenceEngine", 100),
        }));
        kept.Lines.Clear();
        time.Advance(TimeSpan.FromMinutes(1));
        Send("Microsoft.AspNetCore.Server.Kestrel.Http2", 2);
        Assert.That(kept.Lines.Select(line => line.Properties.TryGetValue("LeftOut", out LogEventPropertyValue? left) ? left.ToString() : ""), Is.EqualTo(new[]
        {
            "\" (990 lines of Microsoft.AspNetCore.Server.Kestrel.Http2 before it were left out)\"", "",
        }));

        void Send(string source, int lines)
        {
            for (int i = 0; i < lines; i++)
                log.ForContext(Constants.SourceContextPropertyName, source).Error("a malformed frame");
        }
    }

    private static string Source(LogEvent line) => (string)((ScalarValue)line.Properties[Constants.SourceContextPropertyName]).Value!;

    private sealed class Kept : ILogEventSink
    {
        public List<LogEvent> Lines { get; } = [];

        public void Emit(LogEvent logEvent) => Lines.Add(logEvent);
    }
}
