using System.Globalization;
using System.Reflection;
using System.Xml.Linq;
using NUnit.Framework.Api;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace TpServe.TestRunner;

/// <summary>A run of an assembly's tests, one after another: failures as they come, a line for each fixture.</summary>
internal sealed class TestRun(TextWriter output) : ITestListener
{
    /// <summary>Runs the tests whose full names match.</summary>
    public static (int Passed, int Failed) Of(Assembly assembly, string pattern, TextWriter output)
    {
        NUnitTestAssemblyRunner runner = new(new DefaultTestAssemblyBuilder());
        runner.Load(assembly, new Dictionary<string, object> { ["NumberOfTestWorkers"] = 0 });
        XElement filter = new("filter", new XElement("test", new XAttribute("re", 1), pattern));
        ITestResult result = runner.Run(new TestRun(output), TestFilter.FromXml(filter.ToString()));
        return (result.PassCount, result.FailCount);
    }

    /// <inheritdoc/>
    public void TestFinished(ITestResult result)
    {
        if (result.Test.TestType == "TestFixture")
            output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{result.FullName}: {result.PassCount} passed, {result.FailCount} failed, {result.SkipCount} skipped, {result.Duration:F1} s"));
        else if (!result.HasChildren && result.ResultState.Status == TestStatus.Failed)
            output.WriteLine($"failed: {result.FullName}\n{result.Message}\n{result.StackTrace}");
    }

    /// <inheritdoc/>
    public void TestStarted(ITest test)
    {
    }

    /// <inheritdoc/>
    public void TestOutput(TestOutput output)
    {
    }

    /// <inheritdoc/>
    public void SendMessage(TestMessage message)
    {
    }
}
