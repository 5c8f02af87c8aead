using NUnit.Framework;
using TpServe.Gateway.Tests.Engine;
using TpServe.Gateway.Workers;

namespace TpServe.Gateway.Tests.Workers;

/// <summary>When a group may be tried again, when its workers are suspect, and where they make their sockets.</summary>
public sealed class SupervisionTests
{
    private readonly ManualTime _time = new();

    [Test]
    public void Circuit_FailuresInARow_DoubleThePauseAndOpenItAtTheLimit()
    {
        Circuit circuit = new(new GroupPolicy { CrashLimit = 9 }, _time);
        List<double> pauses = [];
        for (int i = 0; i < 8; i++)
        {
            circuit.Failed();
            Assert.That(circuit.IsOpen, Is.False);
            pauses.Add(circuit.Pause.TotalMilliseconds);
        }
        Assert.That(pauses, Is.EqualTo(new double[] { 0, 100, 200, 400, 800, 1600, 3200, 5000 }));
        circuit.Failed();
        Assert.That((circuit.IsOpen, circuit.IsFinal, circuit.Pause), Is.EqualTo((true, false, TimeSpan.FromSeconds(15))));
        circuit.Succeeded();
        circuit.Failed();
        Assert.That((circuit.IsOpen, circuit.Pause), Is.EqualTo((false, TimeSpan.Zero)), "a success clears the count");
    }

    [Test]
    public void Circuit_FailuresFarApart_StayBelowTheLimit()
    {
        Circuit circuit = new(new GroupPolicy { CrashLimit = 2 }, _time);
        for (int i = 0; i < 10; i++)
        {
            circuit.Failed();
            circuit.Succeeded();
            Assert.That((circuit.IsOpen, circuit.Pause), Is.EqualTo((false, TimeSpan.Zero)));
            _time.Advance(TimeSpan.FromMinutes(11));
        }
    }

    [Test]
    public void Circuit_FailuresOutsideTheWindow_LengthenNoPause()
    {
        Circuit circuit = new(new GroupPolicy { CrashWindow = TimeSpan.FromSeconds(3) }, _time);
        for (int i = 0; i < 4; i++)
            circuit.Failed();
        Assert.That(circuit.Pause, Is.EqualTo(TimeSpan.FromMilliseconds(400)));
        _time.Advance(TimeSpan.FromSeconds(4));
        circuit.Failed();
        Assert.That(circuit.Pause, Is.EqualTo(TimeSpan.Zero));
    }

    [Test]
    public void Circuit_AGroupThatDiesAsSoonAsItIsReady_IsACrashLoop()
    {
        Circuit circuit = new(new GroupPolicy(), _time);
        for (int i = 0; i < 5; i++)
        {
            Assert.That(circuit.IsOpen, Is.False);
            circuit.Succeeded();
            _time.Advance(TimeSpan.FromSeconds(1));
            circuit.Failed();
        }
        Assert.That(circuit.IsOpen, Is.True);
    }

    [TestCase(0.001, 2)]
    [TestCase(0.11, 2.2)]
    [TestCase(5, 2.5)]
    public void Heartbeat_StepsTakeLong_AreWaitedForNoLongerThanAFrozenWorkerMay(double stepSeconds, double patience)
    {
        Heartbeat heartbeat = new(new GroupPolicy(), _time);
        Assert.That(heartbeat.Patience, Is.EqualTo(TimeSpan.FromSeconds(2)));
        for (int i = 0; i < 300; i++)
            heartbeat.StepEnded(TimeSpan.FromSeconds(stepSeconds));
        Assert.That(heartbeat.Patience.TotalSeconds, Is.EqualTo(patience).Within(1e-6));
    }

    [Test]
    public void StepTimes_P99_LeavesOutOneOfAHundredAndForgetsTheOldest()
    {
        StepTimes times = new();
        Assert.That(times.P99, Is.EqualTo(TimeSpan.Zero));
        for (int i = 1; i <= 100; i++)
            times.Add(TimeSpan.FromMilliseconds(i));
        Assert.That(times.P99, Is.EqualTo(TimeSpan.FromMilliseconds(99)));
        for (int i = 0; i < 256; i++)
            times.Add(TimeSpan.FromMilliseconds(5));
        Assert.That(times.P99, Is.EqualTo(TimeSpan.FromMilliseconds(5)));
    }

    [Test]
    public void WorkerFolder_RootTooLongOrMissing_TakesTheNextAndNamesBothWhereThereIsNone()
    {
        string work = Directory.CreateTempSubdirectory("folders-").FullName;
        string tooLong = Directory.CreateDirectory(Path.Combine(work, new string('x', 100))).FullName, missing = Path.Combine(work, "missing");
        try
        {
            using (WorkerFolder folder = WorkerFolder.Create(tooLong, missing, work))
            {
                Assert.That(Path.GetDirectoryName(folder.Path), Is.EqualTo(work));
                Assert.That(folder.NewSocket(), Is.Not.EqualTo(folder.NewSocket()));
                File.WriteAllText(folder.NewSocket(), "as a worker leaves it");
            }
            Assert.That(Directory.GetDirectories(work), Is.EqualTo(new[] { tooLong }), "it goes with what is in it");
            WorkerStartException? fault = Assert.Throws<WorkerStartException>(() => WorkerFolder.Create(tooLong, missing));
            Assert.That(fault!.Message, Does.Contain(tooLong).And.Contain("107").And.Contain(missing));
        }
        finally
        {
            Directory.Delete(work, recursive: true);
        }
    }

    [Test]
    public void WorkerFolder_OthersThere_OnlyThoseWhoseOwnerDiedAreSwept()
    {
        string work = Directory.CreateTempSubdirectory("folders-").FullName;
        try
        {
            string dead = Directory.CreateDirectory(Path.Combine(work, "tpserve-dead")).FullName, foreign = Directory.CreateDirectory(Path.Combine(work, "tpserve-notes")).FullName;
            string diagnostics = Path.Combine(Path.GetTempPath(), "dotnet-diagnostic-4194305-7-socket"), other = Path.Combine(Path.GetTempPath(), "dotnet-diagnostic-4194305-8-socket");
            File.WriteAllText(diagnostics, "as the runtime of a killed gateway leaves it");
            File.WriteAllText(other, "of a later process of the same id");
            File.WriteAllText(Path.Combine(dead, "lock"), "4194305-7");
            File.WriteAllText(Path.Combine(dead, "w1"), "");
            File.WriteAllText(Path.Combine(foreign, "thesis.txt"), "");
            using WorkerFolder living = WorkerFolder.Create(work);
            using WorkerFolder next = WorkerFolder.Create(work);
            Assert.That(Directory.GetDirectories(work), Is.EquivalentTo(new[] { foreign, living.Path, next.Path }));
            Assert.That(File.Exists(Path.Combine(foreign, "thesis.txt")), Is.True);
            Assert.That((File.Exists(diagnostics), File.Exists(other)), Is.EqualTo((false, true)));
            File.Delete(other);
        }
        finally
        {
            Directory.Delete(work, recursive: true);
        }
    }
}
