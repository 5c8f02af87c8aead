using NUnit.Framework;

namespace TpServe.Fuzz;

/// <summary>A slice of every target's inputs; the program has as many as one likes.</summary>
[NonParallelizable]
public sealed class FuzzTests
{
    private const int Seed = 8, Inputs = 4_000;

    // What a slice may take where the machine is busy: the inputs that are left out are other runs'.
    private static readonly TimeSpan s_slice = TimeSpan.FromMilliseconds(400);

    private static IEnumerable<string> Targets() => FuzzTargets.All().Select(target =>
    {
        using (target)
            return target.Name;
    });

    [TestCaseSource(nameof(Targets))]
    public void Read_DamagedInputs_EachIsTakenOrRefusedInTimeAndBounds(string name)
    {
        using FuzzTarget target = FuzzTargets.All().Single(target => target.Name == name);
        FuzzFigures figures = new FuzzRun(target, Seed).Run(0, Inputs, s_slice);
        TestContext.Out.WriteLine(figures);
        Assert.That(figures.Findings, Is.Empty);
        Assert.That(figures.Inputs, Is.GreaterThan(0));
    }
}
