using System.Globalization;
using Serilog;
using Serilog.Core;
using Serilog.Events;
using Serilog.Formatting.Compact;

namespace TpServe.Gateway.Commands;

/// <summary>The server's log: to standard output, for people or as lines of JSON.</summary>
internal static class ServerLog
{
    private const string Template = "[{Timestamp:HH:mm:ss} {Level:u3}] {Message:lj}{LeftOut}{NewLine}{Exception}";

    /// <summary>Has the application log so.</summary>
    /// <param name="builder">The application.</param>
    /// <param name="level">Least level.</param>
    /// <param name="isJson">Lines of JSON, in Serilog's compact form.</param>
    public static void AddTo(WebApplicationBuilder builder, string level, bool isJson)
    {
        LogEventLevel least = Enum.Parse<LogEventLevel>(level == "trace" ? "verbose" : level, ignoreCase: true);
        builder.Host.UseSerilog((_, log) => log
            .MinimumLevel.Is(least)
            .MinimumLevel.Override("Microsoft", LogEventLevel.Warning)
            .MinimumLevel.Override("Grpc", LogEventLevel.Warning)
            // What these two would report is said elsewhere: a failed start in one line, readiness by its own endpoints.
            .MinimumLevel.Override("Microsoft.Extensions.Hosting", LogEventLevel.Fatal)
            .MinimumLevel.Override("Microsoft.Extensions.Diagnostics.HealthChecks", LogEventLevel.Fatal)
            .Filter.With(new FrameworkLines(TimeProvider.System))
            // A terminal that is slow to print holds up nobody: what logs under a lock only queues a line.
            .WriteTo.Async(queue =>
            {
                if (isJson)
                    queue.Console(new CompactJsonFormatter());
                else
                    queue.Console(outputTemplate: Template, formatProvider: CultureInfo.InvariantCulture);
            }));
    }
}

/// <summary>Keeps the framework's lines to some a minute: whoever can connect can make it complain, of malformed frames, resets and requests, as often as they like.</summary>
/// <remarks>Each source has its own count. The first line of a minute says how many of its source were left out in the one before. Threads  any.</remarks>
internal sealed class FrameworkLines(TimeProvider clock) : ILogEventFilter
{
    /// <summary>Lines a minute of one source.</summary>
    public const int MostLines = 10;

    private const string LeftOut = "LeftOut";
    private static readonly TimeSpan s_minute = TimeSpan.FromMinutes(1);
    private readonly Lock _gate = new();
    private readonly Dictionary<string, (long Began, int Lines)> _sources = [];

    public bool IsEnabled(LogEvent logEvent)
    {
        if (!logEvent.Properties.TryGetValue(Constants.SourceContextPropertyName, out LogEventPropertyValue? value) || value is not ScalarValue { Value: string source }
            || !source.StartsWith("Microsoft.", StringComparison.Ordinal) && !source.StartsWith("Grpc.", StringComparison.Ordinal))
            return true;
        int before = 0;
        lock (_gate)
        {
            long now = clock.GetTimestamp();
            (long began, int lines) = _sources.GetValueOrDefault(source, (now, 0));
            if (clock.GetElapsedTime(began, now) >= s_minute)
                (began, before, lines) = (now, Math.Max(0, lines - MostLines), 0);
            _sources[source] = (began, lines + 1);
            if (lines >= MostLines)
                return false;
        }
        if (before > 0)
            logEvent.AddOrUpdateProperty(new LogEventProperty(LeftOut, new ScalarValue(string.Create(CultureInfo.InvariantCulture, $" ({before} lines of {source} before it were left out)"))));
        return true;
    }
}
