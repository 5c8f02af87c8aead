using System.Text.Json;
using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Gateway.Commands.Doctor;
using TpServe.Gateway.Devices;
using TpServe.Gateway.Settings;
using TpServe.Gateway.Tests.Devices;
using TpServe.Gateway.Workers;
using TpServe.Protos.Worker;
using TpServe.Testing;

namespace TpServe.Gateway.Tests.Commands;

/// <summary>Each check by facts that differ in one thing from those of a healthy host.</summary>
public sealed class DoctorTests
{
    private static readonly GroupPlan CpuPlan = Plan(DevicePlan.Cpu(2, "auto: no GPU"), cores: 4);

    private static readonly DevicePlan TwoGpus = DevicePlanner.Create(new GatewayOptions(), [TestHosts.With(1, 2)]);

    private static readonly DoctorFacts Healthy = new()
    {
        Version = "1",
        ModelSummary = "a model",
        Host = TestHosts.Without(),
        Devices = CpuPlan.Devices,
        Plan = CpuPlan,
        GroupBytes = 1L << 30,
        FreeHostBytes = 8L << 30,
        IpcNamespace = LinuxFacts.FirstIpcNamespace,
        PidNamespace = LinuxFacts.FirstPidNamespace,
        ShmBytes = 64 << 20,
        ShmFreeBytes = 64 << 20,
        MemoryLockBytes = 8 << 20,
        OpenFiles = 65536,
        Cores = 4,
        SparePorts = (9998, 9999),
        TempFolder = "/tmp/",
        NormalizesUnicode = true,
    };

    private static readonly DoctorFacts OnGpus = Healthy with { Host = TestHosts.With(1, 2), Devices = TwoGpus, Plan = Plan(TwoGpus, cores: 4), HasNvidiaFiles = true, MemoryLockBytes = null };

    private static GroupPlan Plan(DevicePlan devices, int cores)
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.SmolLm2);
        return GroupPlan.Create(checkpoint.Config, new GatewayOptions(), devices, 8L << 30, cores, _ => 1 << 20);
    }

    private static Finding Only(DoctorFacts facts, string check) => Examination.Run(facts).Single(finding => finding.Check == check);

    private static DoctorFacts With(string device, DoctorFacts facts) => facts with { Options = new GatewayOptions { Device = DeviceWish.TryParse(device, out DeviceWish wish, out _) ? wish : throw new FormatException(device) } };

    private static DoctorFacts External(params WorkerAnswer[] workers) => Healthy with
    {
        Options = new GatewayOptions { Workers = [.. workers.Select(worker => worker.Address)] },
        Host = null,
        Workers = workers,
    };

    private static HelloReply OldGpu()
    {
        HelloReply host = TestHosts.With(1);
        host.Gpus[0].Capability = 75;
        return host;
    }

    private static WorkerAnswer Answer(string address, Action<HelloReply>? change = null)
    {
        HelloReply reply = TestHosts.With(1);
        change?.Invoke(reply);
        return new WorkerAnswer(address, reply, "");
    }

    [Test]
    public void Run_HealthyHosts_FindNothingToChange()
    {
        foreach (DoctorFacts facts in new[] { Healthy, OnGpus, External(Answer("http://a:1"), Answer("http://b:1")) })
        {
            IReadOnlyList<Finding> findings = Examination.Run(facts);
            Assert.That(findings.Where(finding => finding.Verdict != Verdict.Ok), Is.Empty);
            Assert.That(findings.Select(finding => finding.Check), Is.Unique.And.SupersetOf(new[] { "model", "gpus", "cpu", "shared memory", "http", "grpc", "user" }));
            Assert.That(findings.Select(finding => finding.Text), Is.All.EndsWith("."));
        }
    }

    private static IEnumerable<TestCaseData> Faults()
    {
        static TestCaseData Case(string name, DoctorFacts facts, string check, Verdict verdict, string text, string fix) =>
            new TestCaseData(facts, check, verdict.ToString(), text, fix).SetArgDisplayNames(name);

        DoctorFacts container = Healthy with { InContainer = true };
        yield return Case("settings", Healthy with { SettingFaults = ["--tp: '0' is no whole number in 1..64."] }, "settings", Verdict.Fail, "--tp: '0'", "flag");
        yield return Case("model", Healthy with { ModelFault = "/m: no such file." }, "model", Verdict.Fail, "/m", "--model");
        yield return Case("model in a container", container with { ModelFault = "/m: no such file." }, "model", Verdict.Fail, "/m", "volumes");
        yield return Case("plan", Healthy with { Plan = null, PlanFault = "degree 99." }, "plan", Verdict.Fail, "degree 99", "--tp");
        yield return Case("worker program", Healthy with { Host = null, WorkerProgramFault = "missing." }, "worker program", Verdict.Fail, "missing", "worker/");
        yield return Case("gpu wanted, no driver", With("cuda", Healthy), "gpus", Verdict.Fail, TestHosts.NoDriver, "install the NVIDIA driver");
        yield return Case("gpu wanted in a container without gpus", With("cuda:0", container), "gpus", Verdict.Fail, TestHosts.NoDriver, "docker run --gpus all");
        yield return Case("device files but no library", container with { HasNvidiaFiles = true }, "gpus", Verdict.Warn, TestHosts.NoDriver, "NVIDIA_DRIVER_CAPABILITIES");
        yield return Case("no device", container with { Host = TestHosts.Without("cuInit: CUDA_ERROR_NO_DEVICE (100)") }, "gpus", Verdict.Warn, "NO_DEVICE", "NVIDIA_VISIBLE_DEVICES");
        yield return Case("fabric", Healthy with { Host = TestHosts.Without("cuInit: CUDA_ERROR_SYSTEM_NOT_READY (802)") }, "gpus", Verdict.Warn, "802", "fabricmanager");
        yield return Case("gpu too old", Healthy with { HasNvidiaFiles = true, Host = OldGpu() }, "gpus", Verdict.Warn, "7.5", "--device cpu");
        yield return Case("devices", Healthy with { Devices = null, Plan = null, DeviceFault = "3 workers, 1 GPU.", DeviceRemedy = "--device cuda:0,cuda:0,cuda:0" }, "devices", Verdict.Fail, "3 workers", "cuda:0,cuda:0");
        yield return Case("scalar", Healthy with { Host = new HelloReply { Isa = InstructionSet.Scalar, GpuReason = TestHosts.NoDriver } }, "instruction set", Verdict.Warn, "scalar", "AVX2");
        yield return Case("no executable memory", Healthy with { Host = new HelloReply { Isa = InstructionSet.Scalar, IsaFault = "mprotect: error 13.", GpuReason = TestHosts.NoDriver } }, "instruction set", Verdict.Warn, "error 13", "executable");
        yield return Case("memory", Healthy with { GroupBytes = 9L << 30 }, "memory", Verdict.Fail, "9216 MiB", "a smaller model, or workers");
        yield return Case("memory in a container", container with { GroupBytes = 9L << 30 }, "memory", Verdict.Fail, "9216 MiB", "mem_limit: \"18432m\", or a smaller model");
        yield return Case("memory for a cache that was chosen", Healthy with { GroupBytes = 9L << 30, Options = Healthy.Options with { KvCache = KvCacheSize.OfTokens(9) } }, "memory", Verdict.Fail, "9216 MiB", "--kv-cache auto");
        yield return Case("cuda-ipc on the cpu", Healthy with { Options = Healthy.Options with { Transport = Transport.CudaIpc } }, "cuda-ipc", Verdict.Fail, "do not compute on GPUs", "--transport auto");
        yield return Case("quota", container with { CpuQuota = 1.5 }, "cpu", Verdict.Warn, "1.5 cores", "cpus: \"4\"");
        yield return Case("threads", Healthy with { Cores = 2 }, "cpu", Verdict.Warn, "4 threads", "--threads 1");
        yield return Case("workers beyond cores", Healthy with { Cores = 1 }, "cpu", Verdict.Warn, "1 core,", "--threads 1");
        yield return Case("no shm", Healthy with { ShmBytes = null }, "shared memory", Verdict.Warn, "The ring is used", "mount -t tmpfs");
        yield return Case("no shm, by name", Healthy with { ShmBytes = null, Options = Healthy.Options with { Transport = Transport.Shm } }, "shared memory", Verdict.Fail, "/dev/shm", "--transport auto");
        yield return Case("little shm", container with { ShmFreeBytes = 1 << 20 }, "shared memory", Verdict.Warn, "1 MiB of 64 MiB", "shm_size");
        yield return Case("little shm on a host", Healthy with { ShmFreeBytes = 1 << 20 }, "shared memory", Verdict.Warn, "4 MiB", "mount");
        yield return Case("shm that cannot be written", Healthy with { Host = new HelloReply { GpuReason = TestHosts.NoDriver, ShmFault = "Read-only file system" } }, "shared memory", Verdict.Warn, "Read-only", "remount,rw");
        yield return Case("locked memory", OnGpus with { MemoryLockBytes = 65536, InContainer = true }, "locked memory", Verdict.Warn, "0.1 MiB", "memlock");
        yield return Case("few files", Healthy with { OpenFiles = 1024 }, "open files", Verdict.Warn, "1024", "ulimit -n");
        yield return Case("hardly any files", container with { OpenFiles = 64 }, "open files", Verdict.Fail, "64", "nofile");
        yield return Case("read-only root", container with { TempFault = "Read-only file system." }, "temporary folder", Verdict.Fail, "Read-only", "tmpfs");
        yield return Case("long path", Healthy with { TempFault = "'/long' is too long for the name of a Unix socket", SocketFolder = "/tmp" }, "temporary folder", Verdict.Warn, "go to /tmp.", "TMPDIR");
        yield return Case("port in use", Healthy with { HttpFault = "Address already in use." }, "http", Verdict.Fail, "127.0.0.1:8080", "--http 127.0.0.1:9998");
        yield return Case("grpc port in use", Healthy with { GrpcFault = "Address already in use." }, "grpc", Verdict.Fail, "127.0.0.1:8081", "--grpc 127.0.0.1:9999");
        yield return Case("loopback in a container", container, "http", Verdict.Warn, "inside this container", "--http 0.0.0.0:8080");
        yield return Case("unicode", Healthy with { NormalizesUnicode = false }, "unicode", Verdict.Fail, "tokenized", "libicu");
        yield return Case("root", container with { IsRoot = true }, "user", Verdict.Warn, "root", "user:");
        yield return Case("worker away", External(new WorkerAnswer("http://a:5005", null, "worker http://a:5005 did not answer.")), "worker 0", Verdict.Fail, "did not answer", "--listen 0.0.0.0:5005");
        yield return Case("wrong secret", External(new WorkerAnswer("http://a:1", null, "worker refused: the group's secret is missing or wrong")), "worker 0", Verdict.Fail, "secret", "--secret-file");
        yield return Case("another release", External(Answer("http://a:1", reply => reply.Version = "2")), "worker 0", Verdict.Fail, "release 2; this gateway is 1", "same image");
        yield return Case("ipc apart", External(Answer("http://a:1"), Answer("http://b:1", reply => reply.IpcNamespace = "ipc:[2]")), "ipc namespace", Verdict.Warn, "2 namespaces", "ipc: \"service:worker-0\"");
        yield return Case("pid apart", External(Answer("http://a:1"), Answer("http://b:1", reply => reply.PidNamespace = "pid:[2]")), "pid namespace", Verdict.Warn, "2 namespaces", "pid: \"service:worker-0\"");
    }

    [TestCaseSource(nameof(Faults))]
    public void Run_OneThingWrong_SaysWhatAndWhichLineToChange(object facts, string check, string verdict, string text, string fix)
    {
        Finding finding = Only((DoctorFacts)facts, check);
        Assert.That(finding.Verdict.ToString(), Is.EqualTo(verdict));
        Assert.That(finding.Text, Does.Contain(text));
        Assert.That(finding.Fix, Does.Contain(fix));
    }

    [Test]
    public void Run_NamespacesOfTwoHosts_AreNotCompared()
    {
        Finding finding = Only(External(Answer("http://a:1"), Answer("http://b:1", reply => (reply.HostId, reply.IpcNamespace) = ("other/ipc/shm", "ipc:[2]"))), "ipc namespace");
        Assert.That(finding.Verdict, Is.EqualTo(Verdict.Ok));
    }

    [Test]
    public void Run_CpuAskedFor_DoesNotMissAGpu() =>
        Assert.That(Only(With("cpu", Healthy with { HasNvidiaFiles = true }), "gpus").Verdict, Is.EqualTo(Verdict.Ok));

    [Test]
    public void Run_WrongSettings_LeavesOutWhatFollowsFromThem()
    {
        DoctorFacts facts = Healthy with { SettingFaults = ["--device: wrong."], Host = null, Devices = null, Plan = null };
        Assert.That(Examination.Run(facts).Where(finding => finding.Verdict == Verdict.Fail).Select(finding => finding.Check), Is.EqualTo(new[] { "settings" }));
    }

    [Test]
    public void SparePorts_ForHttpAndGrpc_AreTwo()
    {
        (int http, int grpc) = FactGathering.SparePorts(new GatewayOptions());
        Assert.That(http, Is.Not.EqualTo(grpc));
        Assert.That(Math.Min(http, grpc), Is.Positive);
    }

    [Test]
    public void ToJson_Findings_ReadsBack()
    {
        using JsonDocument document = JsonDocument.Parse(DoctorReport.ToJson([Finding.Ok("a", "Fine."), Finding.Fail("b", "Not \"fine\".", "x: \"y\"")]));
        Assert.That(document.RootElement.GetProperty("ok").GetBoolean(), Is.False);
        JsonElement[] checks = [.. document.RootElement.GetProperty("checks").EnumerateArray()];
        Assert.That(checks.Select(check => check.GetProperty("verdict").GetString()), Is.EqualTo(new[] { "OK", "FAIL" }));
        Assert.That((checks[1].GetProperty("text").GetString(), checks[1].GetProperty("fix").GetString()), Is.EqualTo(("Not \"fine\".", "x: \"y\"")));
    }
}
