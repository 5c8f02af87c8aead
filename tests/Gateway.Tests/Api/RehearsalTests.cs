using System.Net;
using NUnit.Framework;
using TpServe.Gateway.Api;
using TpServe.Gateway.Tests.Engine;

namespace TpServe.Gateway.Tests.Api;

/// <summary>Requests that nobody sent are answered like those that somebody sends.</summary>
public sealed class RehearsalTests
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(30);

    [Test]
    public async Task RunAsync_RunningServer_FindsNothingAmissAndLeavesItsCountersAlone()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        string? fault = await Rehearsal.RunAsync(
            TestModel.Model(), ApiFixture.Settings with { MaxModelLen = 512 }, IPEndPoint.Parse(api.Http.BaseAddress!.Authority), CancellationToken.None).WaitAsync(s_patience);
        Assert.That(fault, Is.Null);
        Assert.That(api.Engine.Load(), Has.Property("Steps").Zero.And.Property("PromptTokens").Zero);
    }

    [Test]
    public async Task RunAsync_NobodyListens_SaysSoAndThrowsNothing()
    {
        string? fault = await Rehearsal.RunAsync(
            TestModel.Model(), ApiFixture.Settings with { MaxModelLen = 512 }, new IPEndPoint(IPAddress.Loopback, 1), CancellationToken.None).WaitAsync(s_patience);
        Assert.That(fault, Does.Contain("refused"));
    }

    [Test]
    public async Task RunAsync_ContextsAreShort_SaysSo() =>
        Assert.That(await Rehearsal.RunAsync(TestModel.Model(), ApiFixture.Settings, new IPEndPoint(IPAddress.Loopback, 0), CancellationToken.None), Does.Contain("too short"));
}
