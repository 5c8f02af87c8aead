using System.Diagnostics;
using System.Text;
using System.Text.Json;
using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.EndToEnd.Tests;

/// <summary>tpserve report as a user runs it: what it writes, and that nothing outlives it, however it ends.</summary>
[Category("MultiProcess"), NonParallelizable]
public sealed class ReportTests
{
    private const string Mark = "TEST_REPORT_RUN";
    private static readonly TimeSpan Timeout = TimeSpan.FromMinutes(4), Soon = TimeSpan.FromSeconds(25);
    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("tpserve-report-").FullName;

    [TearDown]
    public void DeleteFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public async Task Report_DegreesAndAPartition_WritesWhatAServerThenShows()
    {
        string questions = Path.Combine(_folder, "questions.jsonl"), prompts = Path.Combine(_folder, "prompts.txt"), output = Path.Combine(_folder, "out");
        await File.WriteAllTextAsync(questions, """
            {"prompt": "The capital of France is", "choices": [" Paris", " Berlin"], "answer": 0}
            {"prompt": "The sun rises in the ", "choices": ["west", "east"], "answer": "east"}
            """);
        await File.WriteAllTextAsync(prompts, "Once upon a time\n\"A list of colours: red,\"\n");
        using Run run = new(_folder, "--degrees", "1,2", "--partition", "1,2", "--prompts", prompts, "--eval", questions, "--tokens", "8", "--streams", "1,3", "--seconds", "0.5", "--rounds", "2", "--text-tokens", "200", "--out", output);
        Assert.That(await run.ExitAsync(Timeout), Is.Zero, run.Errors);
        Assert.That(run.Output, Does.Contain("Serve with --tp").And.Contain("outputs are the same to the bit"));
        await run.NobodyIsLeftAsync();

        using JsonDocument document = JsonDocument.Parse(await File.ReadAllTextAsync(Path.Combine(output, "report.json")));
        JsonElement report = document.RootElement, variants = report.GetProperty("variants");
        Assert.That(variants.EnumerateArray().Select(variant => variant.GetProperty("name").GetString()).Take(3), Is.EqualTo(new[] { "tp 1", "tp 2", "tp 2, partition 1,2" }));
        foreach (JsonElement variant in variants.EnumerateArray())
        {
            Assert.That(variant.GetProperty("fault").GetString(), Is.Empty);
            Assert.That(variant.GetProperty("loads").EnumerateArray().Select(load => load.GetProperty("streams").GetInt32()), Is.EqualTo(new[] { 1, 3 }));
            Assert.That(variant.GetProperty("loads").EnumerateArray().Select(load => load.GetProperty("tokens_per_second").GetDouble()), Is.All.Positive);
            Assert.That(variant.GetProperty("ranks").EnumerateArray().Select(rank => long.Parse(rank.GetProperty("peak_resident_bytes").GetString()!, System.Globalization.CultureInfo.InvariantCulture)), Is.All.Positive);
            Assert.That(variant.GetProperty("roofline_share").GetDouble(), Is.InRange(0.01, 1.5));
        }
        Assert.That(variants[2].GetProperty("ranks")[0].GetProperty("heads").GetProperty("end").GetInt32(), Is.EqualTo(3), "a third of nine heads");
        JsonElement equality = report.GetProperty("equality"), quality = report.GetProperty("quality");
        Assert.That((equality.GetProperty("equal").GetInt32(), equality.GetProperty("compared").GetInt32()), Is.EqualTo((2, 2)));
        Assert.That(quality.GetProperty("perplexity").GetDouble(), Is.InRange(1.5, 100));
        Assert.That(quality.GetProperty("reference").GetProperty("kl").GetDouble(), Is.InRange(1e-6, 0.1));
        Assert.That(quality.GetProperty("reference").GetProperty("top1").GetDouble(), Is.GreaterThan(0.85));
        Assert.That((quality.GetProperty("eval").GetProperty("items").GetInt32(), quality.GetProperty("eval").GetProperty("accuracy").GetDouble()), Is.EqualTo((2, 1.0)));
        Assert.That(Directory.GetFiles(Path.Combine(output, "tensorboard"), "*tfevents*", SearchOption.AllDirectories), Has.Length.EqualTo(1 + variants.GetArrayLength()));

        await using ServerProcess server = await ServerProcess.StartAsync("--tp", "1", "--report", output);
        Assert.That(await server.Http.GetStringAsync(new Uri("/report", UriKind.Relative)), Is.EqualTo(await File.ReadAllTextAsync(Path.Combine(output, "index.html"))));
    }

    [Test]
    public async Task Report_WrongFiles_SaysSoAtOnceAndWritesNothing()
    {
        string prompts = Path.Combine(_folder, "prompts.jsonl"), output = Path.Combine(_folder, "out");
        await File.WriteAllTextAsync(prompts, "\"fine\"\n{\"text\": 1}\n");
        using Run run = new(_folder, "--prompts", prompts, "--out", output);
        Assert.That(await run.ExitAsync(Soon), Is.EqualTo(1));
        Assert.That(run.Errors.Trim(), Is.EqualTo($"tpserve: --prompts {prompts}, line 2: the object has no \"prompt\"."));
        Assert.That(Directory.Exists(output), Is.False);
    }

    [TestCase("INT", 130)]
    [TestCase("TERM", 130)]
    [TestCase("KILL", 137)]
    public async Task Report_EndedInTheMiddle_LeavesNoProcessAndNoFolder(string signal, int code)
    {
        string output = Path.Combine(_folder, "out");
        using Run run = new(_folder, "--degrees", "2", "--out", output);
        await ServerProcess.UntilAsync(() => run.Errors.Contains("ready after", StringComparison.Ordinal), ServerProcess.StartTimeout, "no server was ready: " + run.Errors);
        Assert.That(run.Alive(), Has.Length.EqualTo(4), "the report, its server, two workers");
        Processes.Signal(run.Id, signal);
        Assert.That(await run.ExitAsync(Soon), Is.EqualTo(code), run.Errors);
        await run.NobodyIsLeftAsync();
        Assert.That(Directory.Exists(output), Is.EqualTo(signal == "KILL"), "whoever is killed cannot clear up an empty folder");
    }

    /// <summary>The command as a process, marked so that all it starts can be found.</summary>
    private sealed class Run : IDisposable
    {
        private readonly Process _process;
        private readonly StringBuilder _output = new(), _errors = new();
        private readonly string _mark;

        public Run(string mark, params string[] flags)
        {
            _mark = mark;
            ProcessStartInfo start = new("dotnet") { RedirectStandardOutput = true, RedirectStandardError = true };
            foreach (string argument in (string[])[Processes.Program("Gateway"), "report", .. flags])
                start.ArgumentList.Add(argument);
            start.Environment[Mark] = mark;
            _process = Process.Start(start)!;
            _process.OutputDataReceived += (_, line) => Keep(_output, line.Data);
            _process.ErrorDataReceived += (_, line) => Keep(_errors, line.Data);
            _process.BeginOutputReadLine();
            _process.BeginErrorReadLine();
        }

        public int Id => _process.Id;

        public string Output => Read(_output);

        public string Errors => Read(_errors);

        public int[] Alive() => [.. Processes.WithVariable(Mark, _mark).Where(Processes.IsRunning)];

        public async Task<int> ExitAsync(TimeSpan timeout)
        {
            using CancellationTokenSource deadline = new(timeout);
            await _process.WaitForExitAsync(deadline.Token);
            return _process.ExitCode;
        }

        public Task NobodyIsLeftAsync() => ServerProcess.UntilAsync(() => Alive().Length == 0, Soon, "a process outlived its report");

        public void Dispose()
        {
            foreach (int left in Alive())
                Processes.Signal(left, "KILL");
            _process.Dispose();
        }

        private static void Keep(StringBuilder text, string? line)
        {
            if (line is not null)
                lock (text)
                    text.AppendLine(line);
        }

        private static string Read(StringBuilder text)
        {
            lock (text)
                return text.ToString();
        }
    }
}
