using System.Reflection;
using NUnit.Framework;
using TpServe.Gateway.Settings;
using TpServe.Gateway.Workers;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Tests.Settings;

/// <summary>The table, and what is read by it from flags, environment and files.</summary>
public sealed class GatewaySettingsTests
{
    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("settings-").FullName;

    [TearDown]
    public void RemoveFolder() => Directory.Delete(_folder, recursive: true);

    private string WriteFile(string name, string text)
    {
        string path = Path.Combine(_folder, name);
        File.WriteAllText(path, text);
        return path;
    }

    private static GivenSetting[] Flags(params string[] words) =>
        [.. words.Chunk(2).Select(pair => new GivenSetting(SettingsTable.All.Single(setting => setting.Flag == pair[0]), pair[0], pair[1]))];

    private static (GatewayOptions Options, IReadOnlyList<string> Faults) Read(string[]? environment = null, string[]? files = null, params string[] flags) =>
        GatewaySettings.Read(
            new SettingSources([.. (environment ?? []).Select(item => item.Split('=', 2)).Select(item => KeyValuePair.Create(item[0], item[1]))], files ?? []),
            Flags(flags));

    private static GatewayOptions ReadFlags(params string[] flags)
    {
        (GatewayOptions options, IReadOnlyList<string> faults) = Read(flags: flags);
        Assert.That(faults, Is.Empty);
        return options;
    }

    [Test]
    public void Table_AndOptions_NameTheSameSettings()
    {
        string[] properties = [.. typeof(GatewayOptions).GetProperties(BindingFlags.Public | BindingFlags.Instance).Select(property => property.Name)];
        Assert.That(SettingsTable.All.Select(setting => setting.Name), Is.EquivalentTo(properties));
        Assert.That(SettingsTable.All.Select(setting => setting.Flag), Is.Unique.And.All.Match("^--[a-z][a-z-]*[a-z]$"));
        Assert.That(SettingsTable.All.Where(setting => SettingsTable.IsForeign(setting.Variable)).Select(setting => setting.Variable), Is.Empty);
        Assert.That(SettingsTable.All.Select(setting => setting.Summary), Is.All.EndsWith("."));
    }

    [Test]
    public void Read_Nothing_GivesTheDefaultsWithoutAFault()
    {
        (GatewayOptions options, IReadOnlyList<string> faults) = Read();
        Assert.That(faults, Is.Empty);
        Assert.That(options, Is.EqualTo(new GatewayOptions { Partition = options.Partition, Workers = options.Workers }));
    }

    // The value of each row goes to its own property, and to no other.
    [TestCase("--model", "/m.gguf", nameof(GatewayOptions.Model), "/m.gguf")]
    [TestCase("--insecure-links", "on", nameof(GatewayOptions.InsecureLinks), true)]
    [TestCase("--draft", "/small.gguf", nameof(GatewayOptions.Draft), "/small.gguf")]
    [TestCase("--report", "/reports/last", nameof(GatewayOptions.Report), "/reports/last")]
    [TestCase("--tp", "3", nameof(GatewayOptions.Tp), 3)]
    [TestCase("--gpu-memory-utilization", "0.5", nameof(GatewayOptions.GpuMemoryUtilization), 0.5)]
    [TestCase("--profile-cache", "off", nameof(GatewayOptions.ProfileCache), "off")]
    [TestCase("--transport", "ring", nameof(GatewayOptions.Transport), Transport.Ring)]
    [TestCase("--transport", "hosted", nameof(GatewayOptions.Transport), Transport.Hosted)]
    [TestCase("--wire", "bf16", nameof(GatewayOptions.Wire), Wire.Bf16)]
    [TestCase("--wire", "q8", nameof(GatewayOptions.Wire), Wire.Q8)]
    [TestCase("--kv-dtype", "bf16", nameof(GatewayOptions.KvDtype), KvDtype.Bf16)]
    [TestCase("--kv-dtype", "q8", nameof(GatewayOptions.KvDtype), KvDtype.Q8)]
    [TestCase("--activations", "f32", nameof(GatewayOptions.Activations), ActivationDtype.F32)]
    [TestCase("--isa", "avx512-vnni", nameof(GatewayOptions.Isa), InstructionSet.Avx512Vnni)]
    [TestCase("--max-model-len", "4096", nameof(GatewayOptions.MaxModelLen), 4096)]
    [TestCase("--block-tokens", "32", nameof(GatewayOptions.BlockTokens), 32)]
    [TestCase("--prefix-cache", "off", nameof(GatewayOptions.PrefixCache), false)]
    [TestCase("--max-step-tokens", "1024", nameof(GatewayOptions.MaxStepTokens), 1024)]
    [TestCase("--chunk-tokens", "256", nameof(GatewayOptions.ChunkTokens), 256)]
    [TestCase("--max-running", "9", nameof(GatewayOptions.MaxRunning), 9)]
    [TestCase("--queue-limit", "1", nameof(GatewayOptions.QueueLimit), 1)]
    [TestCase("--queue-tokens", "99", nameof(GatewayOptions.QueueTokens), 99)]
    [TestCase("--speculation", "ngram", nameof(GatewayOptions.Speculation), Speculation.Ngram)]
    [TestCase("--draft-tokens", "4", nameof(GatewayOptions.DraftTokens), 4)]
    [TestCase("--http", "0.0.0.0:80", nameof(GatewayOptions.Http), "0.0.0.0:80")]
    [TestCase("--grpc", "[::1]:81", nameof(GatewayOptions.Grpc), "[::1]:81")]
    [TestCase("--log-level", "Debug", nameof(GatewayOptions.LogLevel), "debug")]
    [TestCase("--on-rank-loss", "shrink", nameof(GatewayOptions.OnRankLoss), OnRankLoss.Shrink)]
    [TestCase("--recoveries", "0", nameof(GatewayOptions.Recoveries), 0)]
    [TestCase("--resume-bytes", "1GiB", nameof(GatewayOptions.ResumeBytes), 1L << 30)]
    [TestCase("--responses", "0", nameof(GatewayOptions.Responses), 0)]
    [TestCase("--response-bytes", "1MiB", nameof(GatewayOptions.ResponseBytes), 1L << 20)]
    public void Read_Flag_SetsItsPropertyAlone(string flag, string text, string property, object expected)
    {
        GatewayOptions options = ReadFlags(flag, text), defaults = new();
        Assert.That(typeof(GatewayOptions).GetProperty(property)!.GetValue(options), Is.EqualTo(expected));
        IEnumerable<string> changed = typeof(GatewayOptions).GetProperties().Where(other => !Equals(other.GetValue(options), other.GetValue(defaults)) && other.PropertyType.Name != "IReadOnlyList`1").Select(other => other.Name);
        Assert.That(changed, Is.EqualTo(new[] { property }));
    }

    [TestCase("--suspect-after", nameof(GatewayOptions.SuspectAfter))]
    [TestCase("--step-timeout", nameof(GatewayOptions.StepTimeout))]
    [TestCase("--collective-timeout", nameof(GatewayOptions.CollectiveTimeout))]
    [TestCase("--connect-timeout", nameof(GatewayOptions.ConnectTimeout))]
    [TestCase("--load-timeout", nameof(GatewayOptions.LoadTimeout))]
    [TestCase("--drain-timeout", nameof(GatewayOptions.DrainTimeout))]
    [TestCase("--resume-window", nameof(GatewayOptions.ResumeWindow))]
    [TestCase("--request-timeout", nameof(GatewayOptions.RequestTimeout))]
    public void Read_TimeFlag_SetsItsPropertyAlone(string flag, string property)
    {
        GatewayOptions options = ReadFlags(flag, "17"), defaults = new();
        Assert.That(typeof(GatewayOptions).GetProperty(property)!.GetValue(options), Is.EqualTo(TimeSpan.FromSeconds(17)));
        IEnumerable<PropertyInfo> times = typeof(GatewayOptions).GetProperties().Where(other => other.PropertyType == typeof(TimeSpan));
        Assert.That(times.Where(other => !Equals(other.GetValue(options), other.GetValue(defaults))).Select(other => other.Name), Is.EqualTo(new[] { property }));
    }

    [Test]
    public void Read_DeviceAndPartitionAndKvCache_AreParsed()
    {
        GatewayOptions options = ReadFlags("--device", "cuda:1,cuda:0", "--partition", "2,1.5", "--kv-cache", "2GiB");
        Assert.That((options.Device.Kind, options.Device.List.Count), Is.EqualTo((DeviceKind.Cuda, 2)));
        Assert.That(options.Partition.Weights, Is.EqualTo(new[] { 2, 1.5 }));
        Assert.That(options.KvCache, Is.EqualTo(KvCacheSize.OfBytes(2L << 30)));
    }

    [Test]
    public void Read_OneOrOneForEachWorker_AreParsed()
    {
        GatewayOptions options = ReadFlags("--threads", "1,2", "--rank-memory", "2GiB");
        Assert.That(options.Threads.Values, Is.EqualTo(new[] { 1, 2 }));
        Assert.That((options.RankMemory.At(0), options.RankMemory.At(7)), Is.EqualTo((2L << 30, 2L << 30)));
        Assert.That(ReadFlags("--threads", "7", "--tp", "auto"), Has.Property(nameof(GatewayOptions.Tp)).Null);
        Assert.That(Read([], [], "--threads", "1,many", "--rank-memory", "1,2GiB").Faults, Is.EqualTo(new[]
        {
            "--threads: 'many' is no whole number in 0..256.", "--rank-memory: '1' is no size; write 64KiB, 512MiB, 2GiB, in 1MiB..1024TiB.",
        }));
    }

    [Test]
    public void Read_AllSources_TheLaterOneWins()
    {
        string beside = WriteFile("a.json", """{"Gateway": {"Tp": 1, "MaxRunning": 11, "QueueLimit": 12, "BlockTokens": 8, "PrefixCache": false, "Workers": ["http://a:1", "http://b:1"], "SecretFile": "SECRET", "InsecureLinks": true}}""".Replace("SECRET", WriteFile("secret", "s"), StringComparison.Ordinal));
        string working = WriteFile("b.json", """{"Gateway": {"Tp": 2, "MaxRunning": 21, "QueueLimit": 22}, "Logging": {"Tp": 5}}""");
        (GatewayOptions options, IReadOnlyList<string> faults) = Read(["TPSERVE_TP=3", "gateway__maxrunning=31"], [beside, working, Path.Combine(_folder, "none.json")], "--tp", "4");
        Assert.That(faults, Is.Empty);
        Assert.That((options.Tp, options.MaxRunning, options.QueueLimit, options.BlockTokens, options.PrefixCache), Is.EqualTo((4, 31, 22, 8, false)));
        Assert.That(options.Workers, Is.EqualTo(new[] { "http://a:1", "http://b:1" }));
    }

    [Test]
    public void Read_ListInTheEnvironment_ComesInTheOrderOfItsNumbers()
    {
        string secret = "TPSERVE_SECRET_FILE=" + WriteFile("secret", "s"), trusted = "TPSERVE_INSECURE_LINKS=on";
        Assert.That(Read(["Gateway__Workers__1=http://b:1", "Gateway__Workers__0=http://a:1", secret, trusted]).Options.Workers, Is.EqualTo(new[] { "http://a:1", "http://b:1" }));
        Assert.That(Read(["TPSERVE_WORKER=http://a:1,http://b:1", secret, trusted]).Options.Workers, Is.EqualTo(new[] { "http://a:1", "http://b:1" }));
    }

    [Test]
    public void Read_EmptyVariable_IsNotGiven()
    {
        (GatewayOptions options, IReadOnlyList<string> faults) = Read(["Gateway__Tp=", "TPSERVE_DEVICE=", "Gateway__Device=cpu", "TPSERVE_MODEL="]);
        Assert.That(faults, Is.Empty);
        Assert.That((options.Tp, options.Device.Kind), Is.EqualTo(((int?)null, DeviceKind.Cpu)));
    }

    [TestCase("Gateway__Tpp=3", "Gateway__Tpp=3", "Gateway__Tp.")]
    [TestCase("GATEWAY__QUEUE=3", "GATEWAY__QUEUE=3", "GATEWAY__Queue")]
    [TestCase("TPSERVE_MAX_RUNING=3", "TPSERVE_MAX_RUNING=3", "TPSERVE_MAX_RUNNING.")]
    [TestCase("TPSERVE_KV_CACHE_TOKENS=3", "TPSERVE_KV_CACHE_TOKENS=3", "TPSERVE_KV_CACHE.")]
    public void Read_VariableThatNoSettingHas_NamesKeyValueAndTheNearest(string variable, string named, string nearest) =>
        Assert.That(Read([variable]).Faults, Has.One.StartsWith(named).And.One.Contains("the nearest is " + nearest));

    [TestCase("TPSERVE_GOLDENS=/x")]
    [TestCase("TPSERVE_PTXAS=/x")]
    [TestCase("TPSERVE_PORT_8080_TCP_ADDR=10.0.0.1")]
    [TestCase("Worker__Listen=0.0.0.0:1")]
    [TestCase("PATH=/bin")]
    public void Read_VariableOfAnother_IsPassedOver(string variable) => Assert.That(Read([variable]).Faults, Is.Empty);

    [Test]
    public void Read_TwoNamesOfOneSetting_MustAgree()
    {
        Assert.That(Read(["TPSERVE_TP=3", "Gateway__Tp=3"]).Options.Tp, Is.EqualTo(3));
        Assert.That(Read(["TPSERVE_TP=3", "Gateway__Tp=2"]).Faults, Has.One.Contains("TPSERVE_TP=3").And.One.Contains("Gateway__Tp=2"));
    }

    [Test]
    public void Read_KeyInAFileThatNoSettingHas_NamesFileKeyValueAndTheNearest()
    {
        string file = WriteFile("a.json", """{"Gateway": {"MaxRuning": 3, "Tp": [1, 2]}}""");
        IReadOnlyList<string> faults = Read(files: [file]).Faults;
        Assert.That(faults, Has.Count.EqualTo(2));
        Assert.That(faults, Has.One.StartsWith($"{file}, Gateway:MaxRuning=3: ").And.One.EndsWith("the nearest is Gateway:MaxRunning."));
        Assert.That(faults, Has.One.Contains("--tp").And.One.Contains("no list"));
    }

    [Test]
    public void Read_FileThatIsNoJson_IsAFaultWithItsName()
    {
        string file = WriteFile("a.json", "{not");
        Assert.That(Read(files: [file]).Faults, Has.One.StartsWith(file));
    }

    [Test]
    public void Read_SeveralWrong_ReportsAllWithFlagValueAndRange()
    {
        IReadOnlyList<string> faults = Read(["TPSERVE_QUEUE_LIMIT=0", "Gateway__KvDtype=q4"], null, "--tp", "99", "--collective-timeout", "11m", "--device", "gpu").Faults;
        Assert.That(faults, Is.EquivalentTo(new[]
        {
            "--queue-limit (TPSERVE_QUEUE_LIMIT): '0' is no whole number in 1..100000.",
            "--kv-dtype (Gateway__KvDtype): 'q4' is not one of f16, f32, bf16, q8.",
            "--tp: '99' is no whole number in 1..64.",
            "--collective-timeout: '11m' is not in 100ms..10m.",
            "--device: 'gpu' is not cuda:ORDINAL or cuda:GPU-UUID; write auto, cpu, cuda, cuda-emulated, or one GPU for each worker as in cuda:0,cuda:1.",
        }));
    }

    [TestCase("", "--chunk-tokens", "600")]
    [TestCase("", "--max-step-tokens", "32")]
    [TestCase("cuda-ipc connects GPUs", "--device", "cpu", "--transport", "cuda-ipc")]
    [TestCase("--wire: bf16 is not sent over cuda-ipc", "--wire", "bf16", "--transport", "cuda-ipc")]
    [TestCase("--wire-feedback: error feedback is not served", "--wire", "q8", "--wire-feedback", "on")]
    [TestCase("ports of their own", "--http", "127.0.0.1:1", "--grpc", "127.0.0.1:1")]
    [TestCase("ports of their own", "--http", "127.0.0.1:1", "--grpc", "localhost:1")]
    [TestCase("ports of their own", "--http", "127.0.0.1:1", "--grpc", "0.0.0.0:1")]
    [TestCase("--secret-file", "--worker", "http://127.0.0.1:1")]
    [TestCase("is no folder", "--tls", "/no/such/folder")]
    [TestCase("does not exist", "--secret-file", "/no/such/file")]
    [TestCase("is a folder", "--secret-file", "/proc")]
    [TestCase("is a character device", "--secret-file", "/dev/null")]
    public void Read_SettingsThatDoNotFitTogether_AreRefused(string says, params string[] flags) => Assert.That(Read(flags: flags).Faults, Is.Not.Empty.And.All.Contains(says));

    [TestCase("http://a:1", "is not on this host")]
    [TestCase("https://a:1", "needs the group's certificate: --tls DIR")]
    public void Read_WorkerElsewhereWithoutTls_IsRefusedWithTheWayOut(string worker, string fault) =>
        Assert.That(Read(flags: ["--worker", worker, "--secret-file", WriteFile("secret", "s")]).Faults.Single(), Does.StartWith($"--worker: {worker} {fault}"));

    [Test]
    public void Read_OneWorkerTwice_IsRefusedWhateverItsSpelling() =>
        Assert.That(Read(flags: ["--worker", "http://a:1,http://b:1,http://A:1/", "--insecure-links", "on", "--secret-file", WriteFile("secret", "s")]).Faults, Is.EqualTo(new[] { "--worker: http://a:1 is given 2 times; each rank needs a worker of its own." }));

    [Test]
    public void Read_SecretThatIsNone_IsRefusedByItsSize() =>
        Assert.That(Read(flags: ["--secret-file", WriteFile("secret", new string('s', 5000))]).Faults, Has.One.Contains("has 5000 bytes; a secret has at most 4096."));

    [Test]
    public void Read_SettingThatCannotBeRead_StartsNoSecondFault() =>
        Assert.That(Read(flags: ["--max-step-tokens", "many", "--chunk-tokens", "600"]).Faults, Has.Count.EqualTo(1).And.One.Contains("'many'"));

    [TestCase("--partition", "1,,2")]
    [TestCase("--partition", ",")]
    [TestCase("--partition", "2,0")]
    [TestCase("--partition", "2;1")]
    [TestCase("--partition", "1,NaN")]
    [TestCase("--partition", "1,Infinity")]
    [TestCase("--partition", "1,1e999")]
    [TestCase("--partition", "1,-1")]
    [TestCase("--partition", "1,0.0000001")]
    [TestCase("--partition", "1,99999999999999999999")]
    [TestCase("--gpu-memory-utilization", "1.1")]
    [TestCase("--gpu-memory-utilization", "NaN")]
    [TestCase("--prefix-cache", "yes")]
    [TestCase("--worker", "a:9001")]
    [TestCase("--http", "example.org:80")]
    [TestCase("--http", "127.0.0.1:0")]
    [TestCase("--http", "127.0.0.1:65536")]
    [TestCase("--http", "127.0.0.1")]
    [TestCase("--http", "::1:8080")]
    [TestCase("--grpc", ":8081")]
    [TestCase("--grpc", "127.0.0.1:-1")]
    [TestCase("--threads", "-1")]
    [TestCase("--resume-bytes", "100")]
    [TestCase("--responses", "-1")]
    [TestCase("--response-age", "0s")]
    [TestCase("--kv-cache", "0")]
    [TestCase("--kv-cache", "0MiB")]
    [TestCase("--kv-cache", "2GB")]
    [TestCase("--kv-cache", "-5")]
    [TestCase("--kv-cache", "300000000")]
    [TestCase("--kv-cache", "99999999999TiB")]
    public void Read_ValueThatIsNotAllowed_NamesFlagAndValue(string flag, string text) => Assert.That(Read(flags: [flag, text]).Faults, Has.Some.StartsWith(flag + ": ").And.Some.Contains(text.Split(',')[^1]));
}
