using System.Diagnostics;
using System.Text;
using System.Text.Json.Nodes;
using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.EndToEnd.Tests;

/// <summary>The commands that talk to a running server: chat in a pseudo-terminal (script of util-linux), as a person types and sees it, and bench.</summary>
[Category("MultiProcess")]
public sealed class TerminalTests
{
    private static readonly TimeSpan s_timeout = TimeSpan.FromSeconds(20);

    private ServerProcess? _server;

    [OneTimeSetUp]
    public async Task Start()
    {
        _server = await ServerProcess.StartAsync("--tp", "1");
    }

    [OneTimeTearDown]
    public async Task Stop()
    {
        if (_server is not null)
            await _server.DisposeAsync();
    }

    [Test]
    public async Task Chat_AtATerminal_EditsPastesStopsAndGoesOn()
    {
        using TerminalProcess chat = new($"localhost:{_server!.GrpcPort}", "--temperature 0 --max-tokens 8");
        await chat.SeesAsync("> ");

        // A message with a correction, and one of two lines that is pasted.
        await chat.TypeAsync("What is tha\x7f\x7fhe capital of Italy\u0017France?\r");
        await chat.SeesAsync("[", "generated, Length]");
        await chat.TypeAsync("\e[200~one line\nanother line\e[201~");
        await chat.SeesAsync("another line");
        await chat.TypeAsync("\r");
        await chat.SeesAsync("generated, Length]");

        // A long answer stops at Ctrl-C; the program goes on, and knows what was typed.
        await chat.TypeAsync("/max-tokens 4000\r");
        await chat.SeesAsync("max-tokens: 4000");
        await chat.TypeAsync("Count to ten thousand, in words.\r");
        await chat.SeesAsync("\n", "\n", " ");
        await chat.TypeAsync("\x03");
        await chat.SeesAsync("[stopped]", "> ");
        await chat.TypeAsync("/undo\r");
        await chat.SeesAsync("taken back: Count to ten thousand");
        await chat.TypeAsync("\e[A\e[A");
        await chat.SeesAsync("Count to ten");

        // Ctrl-C clears what is written; at an empty prompt it asks, and then ends.
        await chat.TypeAsync("\x03");
        await chat.SeesAsync("> ");
        await chat.TypeAsync("\x03");
        await chat.SeesAsync("Ctrl-C again");
        await chat.TypeAsync("\x03");
        Assert.That(await chat.ExitCodeAsync(), Is.Zero);
    }

    [Test]
    public async Task Chat_WithoutAServer_SaysSoAndKeepsTheMessage()
    {
        using TerminalProcess chat = new($"127.0.0.1:{Processes.FreePort()}", "");
        await chat.SeesAsync("> ");
        await chat.TypeAsync("hello\r");
        await chat.SeesAsync("no server answers", "Asked again");
        await chat.TypeAsync("\x03");
        await chat.SeesAsync("[stopped]");
        await chat.TypeAsync("\x04");
        Assert.That(await chat.ExitCodeAsync(), Is.Zero);
        Assert.That(chat.Seen, Does.Not.Contain("   at "));
    }

    [TestCase(false)]
    [TestCase(true)]
    public async Task Bench_OfARealServer_TellsWhatItTook(bool overHttp)
    {
        string file = Path.GetTempFileName();
        try
        {
            string[] target = overHttp ? ["--base-url", $"127.0.0.1:{_server!.HttpPort}"] : ["--server", $"127.0.0.1:{_server!.GrpcPort}"];
            ProcessStartInfo start = new("dotnet", [Processes.Program("Gateway"), "bench", .. target, "--num-prompts", "6", "--request-rate", "50", "--max-concurrency", "3", "--input-len", "24", "--output-len", "8",
                "--ignore-eos", "--temperature", "0", "--goodput", "ttft:60000", "tpot:60000", "--percentiles", "50,99", "--json", file])
            {
                RedirectStandardOutput = true,
                RedirectStandardError = true,
            };
            using Process bench = Process.Start(start)!;
            Task<string> output = bench.StandardOutput.ReadToEndAsync(), errors = bench.StandardError.ReadToEndAsync();
            using CancellationTokenSource deadline = new(s_timeout);
            await bench.WaitForExitAsync(deadline.Token);
            Assert.That(bench.ExitCode, Is.Zero, await errors);
            Assert.That(await output, Does.Contain("Time to first token (TTFT)").And.Contain("Request goodput").And.Contain("(6 of 6 requests)"));
            JsonNode json = JsonNode.Parse(await File.ReadAllTextAsync(file))!;
            Assert.That((json["completed"]!.GetValue<int>(), json["failed"]!.GetValue<int>(), json["total_output_tokens"]!.GetValue<int>()), Is.EqualTo((6, 0, 48)));
            Assert.That(json["total_input_tokens"]!.GetValue<int>(), overHttp ? Is.InRange(72, 288) : Is.EqualTo(6 * 24));
            Assert.That(json["max_concurrent_requests"]!.GetValue<int>(), Is.LessThanOrEqualTo(3));
            foreach (string name in new[] { "mean_ttft_ms", "median_tpot_ms", "p99_itl_ms", "p50_e2el_ms" })
                Assert.That(json[name]!.GetValue<double>(), Is.GreaterThan(0), name);
        }
        finally
        {
            File.Delete(file);
        }
    }

    /// <summary>A program in a terminal of its own.</summary>
    private sealed class TerminalProcess : IDisposable
    {
        private readonly Process _process;
        private readonly StringBuilder _seen = new();
        private readonly string _home = Directory.CreateTempSubdirectory("tpserve-home-").FullName;
        private int _at;

        public TerminalProcess(string server, string flags)
        {
            if (!File.Exists("/usr/bin/script"))
                Assert.Ignore("/usr/bin/script is not installed.");
            ProcessStartInfo start = new("/usr/bin/script", ["-qefc", $"dotnet {Processes.Program("Gateway")} chat --server {server} {flags}", "/dev/null"])
            {
                RedirectStandardInput = true,
                RedirectStandardOutput = true,
                Environment = { ["XDG_CACHE_HOME"] = _home, ["TERM"] = "xterm-256color", ["NO_COLOR"] = "" },
            };
            _process = Process.Start(start)!;
            _ = ReadAsync();
        }

        public string Seen
        {
            get
            {
                lock (_seen)
                    return _seen.ToString();
            }
        }

        public async Task TypeAsync(string keys)
        {
            await _process.StandardInput.WriteAsync(keys);
            await _process.StandardInput.FlushAsync();
        }

        /// <summary>Waits until these have come, one after another, after what was seen before.</summary>
        public async Task SeesAsync(params string[] texts)
        {
            foreach (string text in texts)
            {
                int found = -1;
                await ServerProcess.UntilAsync(() => (found = Seen.IndexOf(text, Math.Min(_at, Seen.Length), StringComparison.Ordinal)) >= 0, s_timeout, $"'{text}' was not seen after character {_at} of: {Seen}");
                _at = found + text.Length;
            }
        }

        public async Task<int> ExitCodeAsync()
        {
            using CancellationTokenSource deadline = new(s_timeout);
            await _process.WaitForExitAsync(deadline.Token);
            return _process.ExitCode;
        }

        public void Dispose()
        {
            if (!_process.HasExited)
                _process.Kill(entireProcessTree: true);
            _process.Dispose();
            Directory.Delete(_home, recursive: true);
        }

        private async Task ReadAsync()
        {
            char[] buffer = new char[4096];
            while (await _process.StandardOutput.ReadAsync(buffer) is > 0 and int read)
                lock (_seen)
                    _seen.Append(buffer, 0, read);
        }
    }
}
