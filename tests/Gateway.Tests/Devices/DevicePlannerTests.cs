using NUnit.Framework;
using TpServe.Gateway.Devices;
using TpServe.Protos.Worker;
using static TpServe.Gateway.Tests.Devices.TestHosts;

namespace TpServe.Gateway.Tests.Devices;

public sealed class DevicePlannerTests
{
    private static readonly string[] TwoWorkers = ["http://a:1", "http://b:1"];

    private static DevicePlan Plan(string device, int? tp, params HelloReply[] hosts) =>
        DevicePlanner.Create(new GatewayOptions { Device = Wish(device), Tp = tp }, hosts);

    private static DevicePlan PlanExternal(string device, params HelloReply[] hosts) =>
        DevicePlanner.Create(new GatewayOptions { Device = Wish(device), Workers = TwoWorkers }, hosts);

    private static DeviceWish Wish(string device) => DeviceWish.TryParse(device, out DeviceWish wish, out string? fault) ? wish : throw new FormatException(fault);

    private static string[] Names(DevicePlan plan) => [.. plan.Ranks.Select(rank => rank.Name)];

    [Test]
    public void Create_DegreeThatIsNotTheNumberOfWorkers_IsRefused() =>
        Assert.That(
            Assert.Throws<DeviceException>(() => DevicePlanner.Create(new GatewayOptions { Device = Wish("cpu"), Workers = TwoWorkers, Tp = 3 }, []))!.Message,
            Does.Contain("--tp 3").And.Contain("2 given by --worker"));

    [TestCase("cpu", null, 2)]
    [TestCase("cpu", 3, 3)]
    [TestCase("cuda-emulated", null, 2)]
    [TestCase("cuda-emulated", 1, 1)]
    public void Create_NoGpuWanted_TakesTheDegreeGivenOrTwo(string device, int? tp, int degree)
    {
        DevicePlan plan = Plan(device, tp);
        Assert.That(Names(plan), Is.EqualTo(Enumerable.Repeat(device, degree)));
        Assert.That(plan.OnGpus, Is.False);
        Assert.That(plan.Reason, Does.Contain(device));
    }

    [TestCase("auto")]
    [TestCase("cuda")]
    public void Create_GpusFoundAndNoDegree_TakesThemAll(string device)
    {
        DevicePlan plan = Plan(device, null, With(1, 2, 3));
        Assert.That(Names(plan), Is.EqualTo(new[] { "cuda:0", "cuda:1", "cuda:2" }));
        Assert.That(plan.Ranks.Select(rank => rank.Gpu!.Uuid), Is.EqualTo(new[] { Uuid(1), Uuid(2), Uuid(3) }));
        Assert.That(plan.OnGpus, Is.True);
        Assert.That(plan.Reason, Is.EqualTo($"{device}: 3 GPUs found"));
    }

    [Test]
    public void Create_FewerWorkersThanGpus_TakesTheFirst() =>
        Assert.That(Names(Plan("auto", 2, With(1, 2, 3))), Is.EqualTo(new[] { "cuda:0", "cuda:1" }));

    [TestCase("auto")]
    [TestCase("cuda")]
    public void Create_MoreWorkersThanGpus_IsRefusedAndSaysHowToShare(string device)
    {
        DeviceException? fault = Assert.Throws<DeviceException>(() => Plan(device, 3, With(1, 2)));
        Assert.That(fault!.Message, Does.Contain("3 workers").And.Contain("2 found").And.Contain("--device cuda:0,cuda:1,cuda:0"));
        Assert.That(fault.Remedy, Is.EqualTo("--device cuda:0,cuda:1,cuda:0"));
    }

    [Test]
    public void Create_AutoWithoutGpu_TakesTheCpuAndSaysWhy()
    {
        DevicePlan plan = Plan("auto", null, Without());
        Assert.That(Names(plan), Is.EqualTo(new[] { "cpu", "cpu" }));
        Assert.That(plan.Reason, Is.EqualTo($"auto: no GPU ({NoDriver})"));
    }

    [TestCase("cuda")]
    [TestCase("cuda:0")]
    public void Create_GpuWantedButNone_IsRefusedWithTheReason(string device)
    {
        DeviceException? fault = Assert.Throws<DeviceException>(() => Plan(device, null, Without()));
        Assert.That(fault!.Message, Does.Contain(NoDriver));
    }

    [Test]
    public void Create_List_GivesEachRankTheGpuItNames()
    {
        DevicePlan plan = Plan($"cuda:1,cuda:{Uuid(1)},cuda:1", null, With(1, 2));
        Assert.That(Names(plan), Is.EqualTo(new[] { "cuda:1", "cuda:0", "cuda:1" }));
        Assert.That(plan.Ranks.Select(rank => rank.Gpu!.Uuid), Is.EqualTo(new[] { Uuid(2), Uuid(1), Uuid(2) }));
    }

    [Test]
    public void Create_ListOfAnotherLengthThanTheDegree_IsRefused()
    {
        DeviceException? fault = Assert.Throws<DeviceException>(() => Plan("cuda:0", 2, With(1)));
        Assert.That(fault!.Message, Does.Contain("1 GPU for 2 workers"));
        Assert.That(fault.Remedy, Is.EqualTo("--device cuda:0,cuda:0"));
    }

    [Test]
    public void Create_ListNamesAGpuThatIsNotThere_SaysWhatThereIs()
    {
        DeviceException? fault = Assert.Throws<DeviceException>(() => Plan("cuda:7", null, With(1)));
        Assert.That(fault!.Message, Does.Contain("cuda:7").And.Contain("NVIDIA Test").And.Contain(Uuid(1)));
    }

    [Test]
    public void Create_ExternalWorkersThatSeeTheSameGpus_EachTakesItsOwn()
    {
        DevicePlan plan = PlanExternal("auto", With(1, 2), With(1, 2));
        Assert.That(Names(plan), Is.EqualTo(new[] { "cuda:0", "cuda:1" }));
    }

    [Test]
    public void Create_ExternalWorkersThatSeeOneGpuEach_TakeThemByTheirOwnOrdinals()
    {
        DevicePlan plan = PlanExternal("auto", With(1), With(2));
        Assert.That(Names(plan), Is.EqualTo(new[] { "cuda:0", "cuda:0" }));
        Assert.That(plan.Ranks.Select(rank => rank.Gpu!.Uuid), Is.Unique);
    }

    [Test]
    public void Create_OneExternalWorkerWithoutGpu_AutoTakesTheCpuForAll()
    {
        DevicePlan plan = PlanExternal("auto", With(1), Without());
        Assert.That(Names(plan), Is.EqualTo(new[] { "cpu", "cpu" }));
        Assert.That(plan.Reason, Does.Contain("worker 1").And.Contain(NoDriver));
        Assert.Throws<DeviceException>(() => PlanExternal("cuda", With(1), Without()));
    }

    [Test]
    public void Create_AGpuTooOldForTheKernels_IsPassedOver()
    {
        HelloReply host = With(1, 2, 3);
        host.Gpus[0].Capability = 75;
        DevicePlan plan = Plan("auto", null, host);
        Assert.That(Names(plan), Is.EqualTo(new[] { "cuda:1", "cuda:2" }));
        Assert.That(Assert.Throws<DeviceException>(() => Plan("cuda:0", null, host))!.Message, Does.Contain("7.5").And.Contain("8.0"));
        Assert.That(Assert.Throws<DeviceException>(() => Plan("cuda", 3, host))!.Remedy, Is.EqualTo("--device cuda:1,cuda:2,cuda:1"));
        host.Gpus[1].Capability = host.Gpus[2].Capability = 61;
        Assert.That(Plan("auto", null, host).Reason, Is.EqualTo("auto: no GPU (cuda:0 NVIDIA Test has compute capability 7.5; the kernels need 8.0)"));
    }

    [TestCase("auto", null)]
    [TestCase("cpu", null)]
    [TestCase("cuda", null)]
    [TestCase("cuda-emulated", null)]
    [TestCase("cuda:0", null)]
    [TestCase("cuda:0,cuda:12", null)]
    [TestCase("cuda:GPU-00102030-4050-6070-8090-a0b0c0d0e0f0", null)]
    [TestCase("", "''")]
    [TestCase("gpu", "'gpu'")]
    [TestCase("cuda:", "'cuda:'")]
    [TestCase("cuda:x", "'cuda:x'")]
    [TestCase("cuda:-1", "'cuda:-1'")]
    [TestCase("cuda:1234", "'cuda:1234'")]
    [TestCase("cuda:0,1", "'1'")]
    [TestCase("cuda:0,cpu", "'cpu'")]
    [TestCase("cuda:GPU-5c24", "'cuda:GPU-5c24'")]
    public void TryParse_DeviceSetting_ReadsBackOrNamesTheItemThatCannotBeRead(string device, string? named)
    {
        bool read = DeviceWish.TryParse(device, out DeviceWish wish, out string? fault);
        Assert.That((read, fault is null), Is.EqualTo((named is null, named is null)));
        if (named is null)
            Assert.That(wish.Text, Is.EqualTo(device));
        else
            Assert.That(fault, Does.Contain(named));
    }

    [TestCase(DeviceKind.Cpu, null, DevicePlanner.DefaultDegree)]
    [TestCase(DeviceKind.Cpu, 3, 3)]
    [TestCase(DeviceKind.CudaEmulated, 1, 1)]
    [TestCase(DeviceKind.Cuda, 2, 0)] // on GPUs there may be fewer, and a driver is not met in a worker first
    [TestCase(DeviceKind.Cpu, 9, 0)] // the plan may refuse so many
    public void WorkersAhead_Device_AreThoseOfTheGroupWhereNothingCanChangeIt(DeviceKind kind, int? degree, int ahead) =>
        Assert.That(DeviceSurvey.WorkersAhead(new GatewayOptions { Device = new DeviceWish(kind, []), Tp = degree }), Is.EqualTo(ahead));
}
