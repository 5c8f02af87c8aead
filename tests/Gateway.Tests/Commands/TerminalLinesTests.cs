using System.Text;
using NUnit.Framework;
using TpServe.Gateway.Commands;

namespace TpServe.Gateway.Tests.Commands;

/// <summary>A terminal that nobody reads, or that cannot be written to, holds up nobody.</summary>
public sealed class TerminalLinesTests
{
    [Test, CancelAfter(60_000)]
    public void Write_NobodyReads_ReturnsAndDropsWhatIsTooMuch()
    {
        using ManualResetEventSlim goOn = new();
        Terminal stuck = new(line => goOn.Wait());
        TerminalLines lines = new(stuck);
        for (int i = 0; i < 5000; i++)
            lines.Write($"line {i}");
        lines.Dispose(); // waits a moment, not for ever
        Assert.That(stuck.Written, Is.Empty);
        goOn.Set();
    }

    [Test, CancelAfter(60_000)]
    public void Write_DiskIsFullForALine_TheNextIsWritten()
    {
        Terminal full = new(line =>
        {
            if (line == "first")
                throw new IOException("No space left on device");
        });
        using (TerminalLines lines = new(full))
        {
            lines.Write("first");
            lines.Write("second");
        }
        Assert.That(full.Written, Is.EqualTo(new[] { "second" }));
    }

    private sealed class Terminal(Action<string?> before) : TextWriter
    {
        public List<string?> Written { get; } = [];

        public override Encoding Encoding => Encoding.UTF8;

        public override void WriteLine(string? value)
        {
            before(value);
            Written.Add(value);
        }
    }
}
