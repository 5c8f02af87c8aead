using NUnit.Framework;
using TpServe.Gateway.Commands;
using TpServe.Gateway.Tests.Engine;
using TpServe.Links;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Tests.Commands;

/// <summary>What the terminal says of how long nothing was served.</summary>
public sealed class BannerTests
{
    [TestCase("127.0.0.1:8080", "", "everybody on this host")]
    [TestCase("0.0.0.0:8080", "", "EVERYBODY who reaches 0.0.0.0:8080")]
    [TestCase("0.0.0.0:8080", "keys.json", "by the keys in keys.json")]
    public void Access_ByAddressAndKeys_IsToldAndWarnedOf(string http, string keys, string says)
    {
        StringWriter terminal = new();
        using (TerminalLines lines = new(terminal))
            new Banner(lines, new GatewayOptions { Http = http, Keys = keys }, LinkSecurity.None, new ManualTime(), TimeSpan.Zero).Access();
        Assert.That(terminal.ToString(), Does.StartWith("access").And.Contain(says));
    }

    [Test]
    public void Ready_FirstAndAgain_CountsFromTheStartAndFromTheLoss()
    {
        ManualTime time = new();
        StringWriter terminal = new();
        using (TerminalLines lines = new(terminal))
        {
            Banner banner = new(lines, new GatewayOptions(), LinkSecurity.None, time, TimeSpan.FromSeconds(1));
            GetTopologyResponse topology = new() { Ranks = { new RankInfo { Transport = "shm", TransportReason = "one host" } } };
            time.Advance(TimeSpan.FromSeconds(3));
            banner.Ready(topology);
            time.Advance(TimeSpan.FromMinutes(10));
            banner.Lost(1, "rank 1 died.");
            time.Advance(TimeSpan.FromSeconds(2));
            banner.Broken("rank 1 died again.", TimeSpan.FromSeconds(15));
            time.Advance(TimeSpan.FromSeconds(5));
            banner.Ready(topology);
        }
        string[] serving = [.. terminal.ToString().Split('\n').Where(line => line.StartsWith("serving", StringComparison.Ordinal))];
        Assert.That(serving[0], Does.EndWith("ready after 4.0 s"));
        Assert.That(serving[1], Does.EndWith("ready again after 7.0 s"));
    }
}
