using System.Globalization;
using Spectre.Console;
using TpServe.Checkpoint.Hub;

namespace TpServe.Gateway.Commands.Models;

/// <summary>How far a download is, on standard error: bars where a terminal is, else a line at every quarter of a file.</summary>
/// <remarks>Threads  reports come from any thread. Nothing is drawn before the first one.</remarks>
/// <param name="terminal">Where bars are drawn; null = lines.</param>
/// <param name="lines">Where lines go.</param>
internal sealed class DownloadDisplay(IAnsiConsole? terminal, TextWriter lines) : IAsyncDisposable
{
    private const double MiB = 1 << 20;
    private const int Quarters = 4;
    private const long SmallBytes = 1 << 20; // of such a file one line is enough

    private readonly Lock _gate = new();
    private readonly Dictionary<string, ProgressTask> _bars = [];
    private readonly Dictionary<string, int> _quarters = [];
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private ProgressContext? _context;
    private Task? _drawing;

    /// <summary>For this process's standard error.</summary>
    public static DownloadDisplay Create() => new(
        Console.IsErrorRedirected ? null : AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(Console.Error) }), Console.Error);

    /// <summary>Shows it.</summary>
    public void Report(HubProgress progress)
    {
        lock (_gate)
        {
            if (terminal is null)
                Write(progress);
            else
                Draw(terminal, progress);
        }
    }

    public async ValueTask DisposeAsync()
    {
        _ended.TrySetResult();
        if (_drawing is { } drawing)
            await drawing;
    }

    private void Write(HubProgress progress)
    {
        if (progress.Note is { } note)
            lines.WriteLine("download  " + note.ReplaceLineEndings(" "));
        if (progress.TotalBytes is > 0 and < SmallBytes)
        {
            if (progress.DoneBytes == progress.TotalBytes)
                lines.WriteLine(string.Create(CultureInfo.InvariantCulture, $"download  {progress.File}: {progress.TotalBytes} bytes"));
            return;
        }
        int quarter = progress.TotalBytes == 0 ? 0 : (int)(Quarters * progress.DoneBytes / progress.TotalBytes);
        if (progress.TotalBytes == 0 || _quarters.TryGetValue(progress.File, out int last) && last >= quarter)
            return;
        _quarters[progress.File] = quarter;
        lines.WriteLine(string.Create(CultureInfo.InvariantCulture, $"download  {progress.File}: {progress.DoneBytes / MiB:F1} of {progress.TotalBytes / MiB:F1} MiB"));
    }

    private void Draw(IAnsiConsole console, HubProgress progress)
    {
        _drawing ??= console.Progress()
            .Columns(new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new DownloadedColumn(), new TransferSpeedColumn(), new RemainingTimeColumn())
            .StartAsync(async context =>
            {
                Volatile.Write(ref _context, context);
                await _ended.Task;
            });
        if (progress.Note is { } note)
            console.WriteLine(note);
        if (progress.TotalBytes == 0 || Volatile.Read(ref _context) is not { } drawn)
            return;
        if (!_bars.TryGetValue(progress.File, out ProgressTask? bar))
            _bars.Add(progress.File, bar = drawn.AddTask(Markup.Escape(progress.File), maxValue: progress.TotalBytes));
        bar.Value = progress.DoneBytes;
    }
}
