using System.Net;
using Grpc.Core;
using NUnit.Framework;
using TpServe.Gateway.Reports;
using TpServe.Gateway.Tests.Api;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Tests.Reports;

/// <summary>The folder of a report, and the server that shows it.</summary>
public sealed class PublishedReportTests
{
    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("tpserve-report-").FullName;

    [TearDown]
    public void DeleteFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public async Task Write_ThenRead_IsTheSameMessage()
    {
        TpReport report = SampleReport.Create();
        IReadOnlyList<string> written = ReportFiles.Write(_folder, report, DateTimeOffset.UnixEpoch);
        Assert.That(await ReportFiles.ReadReportAsync(_folder, CancellationToken.None), Is.EqualTo(report));
        Assert.That(written.Select(path => Path.GetRelativePath(_folder, path)), Is.EqualTo(new[]
        {
            "variants.csv", "throughput.csv", "rank_times.csv", "ranks.csv", "collectives.csv", "wires.csv",
            "tensorboard/events.out.tfevents.0.tpserve", "tensorboard/tp-1/events.out.tfevents.0.tpserve", "tensorboard/tp-2/events.out.tfevents.0.tpserve", "report.json", "index.html",
        }));
        Assert.That(Directory.GetFiles(_folder, "*", SearchOption.AllDirectories), Has.Length.EqualTo(11), "nothing else is left");
    }

    [Test]
    public void Write_Again_LeavesNoRunOfTheReportBefore()
    {
        ReportFiles.Write(_folder, SampleReport.Create(), DateTimeOffset.FromUnixTimeSeconds(1));
        ReportFiles.Write(_folder, SampleReport.Create(), DateTimeOffset.FromUnixTimeSeconds(2));
        Assert.That(Directory.GetFiles(_folder, "*tfevents*", SearchOption.AllDirectories).Select(Path.GetFileName), Is.All.EqualTo("events.out.tfevents.2.tpserve"));
    }

    [Test]
    public async Task Server_WithAReport_ShowsPageAndMessage()
    {
        TpReport report = SampleReport.Create();
        ReportFiles.Write(_folder, report, DateTimeOffset.UnixEpoch);
        await using ApiFixture api = await ApiFixture.StartAsync(settings: ApiFixture.Settings with { ReportFolder = _folder });
        using HttpResponseMessage page = await api.Http.GetAsync("/report?file=../../etc/passwd");
        Assert.That(page.StatusCode, Is.EqualTo(HttpStatusCode.OK));
        Assert.That(page.Content.Headers.ContentType!.MediaType, Is.EqualTo("text/html"));
        Assert.That(page.Headers.GetValues("Content-Security-Policy").Single(), Does.StartWith("default-src 'none'"));
        Assert.That(await page.Content.ReadAsStringAsync(), Is.EqualTo(await File.ReadAllTextAsync(Path.Combine(_folder, "index.html"))));
        Assert.That((await api.Control.GetTpReportAsync(new GetTpReportRequest())).Report, Is.EqualTo(report));
        foreach (string other in new[] { "/report/", "/report/report.json", "/report/..%2freport.json", "/report/%2e%2e/report.json" })
        {
            using HttpResponseMessage answer = await api.Http.GetAsync(other);
            Assert.That(await answer.Content.ReadAsStringAsync(), Does.Not.Contain("\"variants\""), other);
        }
    }

    [TestCase(true, "No report has been written yet.")]
    [TestCase(false, "This server shows no report: it was started without --report.")]
    public async Task Server_WithoutAReport_SaysNotFound(bool hasFolder, string message)
    {
        await using ApiFixture api = await ApiFixture.StartAsync(settings: ApiFixture.Settings with { ReportFolder = hasFolder ? _folder : "" });
        using HttpResponseMessage page = await api.Http.GetAsync("/report");
        Assert.That(page.StatusCode, Is.EqualTo(HttpStatusCode.NotFound));
        Assert.That(await page.Content.ReadAsStringAsync(), Does.Contain(message).And.Not.Contain(_folder));
        RpcException? fault = await Assert.ThrowsAsync<RpcException>(async () => await api.Control.GetTpReportAsync(new GetTpReportRequest()));
        Assert.That((fault!.StatusCode, fault.Status.Detail), Is.EqualTo((StatusCode.NotFound, message)));
    }

    [TestCase("{")]
    [TestCase("{\"variants\": 7}")]
    public async Task Server_WithAnotherFileInItsPlace_SaysDataLoss(string content)
    {
        await File.WriteAllTextAsync(Path.Combine(_folder, "report.json"), content);
        await using ApiFixture api = await ApiFixture.StartAsync(settings: ApiFixture.Settings with { ReportFolder = _folder });
        RpcException? fault = await Assert.ThrowsAsync<RpcException>(async () => await api.Control.GetTpReportAsync(new GetTpReportRequest()));
        Assert.That(fault!.StatusCode, Is.EqualTo(StatusCode.DataLoss));
    }

    [Test]
    public async Task Server_WhatIsNoRegularFile_IsNotOpened()
    {
        Directory.CreateDirectory(Path.Combine(_folder, "index.html"));
        await using ApiFixture api = await ApiFixture.StartAsync(settings: ApiFixture.Settings with { ReportFolder = _folder });
        using HttpResponseMessage page = await api.Http.GetAsync("/report");
        Assert.That(page.StatusCode, Is.EqualTo(HttpStatusCode.NotFound));
    }
}
