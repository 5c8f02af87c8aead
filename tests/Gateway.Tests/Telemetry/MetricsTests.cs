using System.Diagnostics.Metrics;
using System.Net;
using Microsoft.Extensions.DependencyInjection;
using NUnit.Framework;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Telemetry;
using TpServe.Gateway.Tests.Api;
using TpServe.Gateway.Tests.Engine;

namespace TpServe.Gateway.Tests.Telemetry;

/// <summary>/metrics as a scraper gets it: names, types, labels and figures.</summary>
public sealed class MetricsTests
{
    private static readonly Dictionary<string, string> s_metrics = new()
    {
        ["tpserve:num_requests_running"] = "gauge",
        ["tpserve:num_requests_waiting"] = "gauge",
        ["tpserve:num_tokens_waiting"] = "gauge",
        ["tpserve:kv_cache_usage_perc"] = "gauge",
        ["tpserve:group_ready"] = "gauge",
        ["tpserve:prompt_tokens_total"] = "counter",
        ["tpserve:generation_tokens_total"] = "counter",
        ["tpserve:prefix_cache_queries_total"] = "counter",
        ["tpserve:prefix_cache_hits_total"] = "counter",
        ["tpserve:num_preemptions_total"] = "counter",
        ["tpserve:recoveries_total"] = "counter",
        ["tpserve:spec_decode_num_draft_tokens_total"] = "counter",
        ["tpserve:spec_decode_num_accepted_tokens_total"] = "counter",
        ["tpserve:engine_steps_total"] = "counter",
        ["tpserve:rank_time_seconds_total"] = "counter",
        ["tpserve:request_success_total"] = "counter",
        ["tpserve:request_failure_total"] = "counter",
        ["tpserve:time_to_first_token_seconds"] = "histogram",
        ["tpserve:inter_token_latency_seconds"] = "histogram",
        ["tpserve:e2e_request_latency_seconds"] = "histogram",
        ["tpserve:request_queue_time_seconds"] = "histogram",
        ["tpserve:request_prefill_time_seconds"] = "histogram",
        ["tpserve:request_decode_time_seconds"] = "histogram",
    };

    [Test]
    public async Task Metrics_AfterRequestsOfEveryEnd_HaveVllmsNamesAndTheRightFigures()
    {
        FakeWorkerGroup group = new() { NextToken = FakeWorkerGroup.Says("Hello!") };
        await using ApiFixture api = await ApiFixture.StartAsync(group: group);
        await api.PostAsync("/v1/completions", """{"prompt":"abcd"}"""); // six tokens and the end
        await api.PostAsync("/v1/completions", """{"prompt":"abcd","max_tokens":2,"n":2}""");
        group.Manual = true;
        using CancellationTokenSource leave = new();
        Task<HttpResponseMessage> left = api.SendAsync("/v1/completions", """{"prompt":"z"}""", leave.Token);
        await group.StepBeganAsync();
        Scrape during = await Scrape.OfAsync(api);
        Assert.That((during.Value("tpserve:num_requests_running"), during.Value("tpserve:num_requests_waiting"), during.Value("tpserve:group_ready")), Is.EqualTo((1, 0, 1)));
        Assert.That(during.Value("tpserve:kv_cache_usage_perc"), Is.GreaterThan(0).And.LessThan(0.1));
        await leave.CancelAsync();
        await Assert.ThatAsync(() => left, Throws.InstanceOf<OperationCanceledException>());
        Assert.That(() => api.Engine.Load().UsedBlocks, Is.Zero.After(10_000, 10));

        Scrape scrape = await Scrape.OfAsync(api);
        Assert.That(scrape.Types, Is.EquivalentTo(s_metrics));
        Assert.That(scrape.Samples.Select(sample => sample.Labels.GetValueOrDefault("model_name")).Distinct(), Is.EqualTo(new[] { "test-model" }));
        Assert.That(scrape.Samples.SelectMany(sample => sample.Labels.Keys).Distinct(), Is.EquivalentTo(new[] { "model_name", "le", "finished_reason", "reason", "rank", "kind" }), "and no others");
        Assert.That((scrape.Value("tpserve:request_success_total", ("finished_reason", "stop")), scrape.Value("tpserve:request_success_total", ("finished_reason", "length"))), Is.EqualTo((1, 2)));
        Assert.That(scrape.Value("tpserve:request_failure_total", ("reason", "client_left")), Is.EqualTo(1));
        Assert.That(scrape.Value("tpserve:generation_tokens_total"), Is.EqualTo(7 + (2 * 2)));
        Assert.That(scrape.Value("tpserve:time_to_first_token_seconds_count"), Is.EqualTo(2));
        Assert.That(scrape.Value("tpserve:inter_token_latency_seconds_count"), Is.EqualTo(6 + 2), "a token after another of its output");
        Assert.That(scrape.Value("tpserve:e2e_request_latency_seconds_count"), Is.EqualTo(2));
        Assert.That(scrape.Value("tpserve:time_to_first_token_seconds_bucket", ("le", "+Inf")), Is.EqualTo(2));
        Assert.That(scrape.Samples.Where(sample => sample.Name == "tpserve:rank_time_seconds_total").Select(sample => (sample.Labels["rank"], sample.Labels["kind"])),
            Is.EquivalentTo(from rank in new[] { "0", "1" } from kind in new[] { "compute", "collective", "wait", "idle" } select (rank, kind)));
    }

    [Test]
    public async Task Metrics_OfATokenAndOfARequest_AllocateNothing()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        ServingMetrics metrics = api.Service<ServingMetrics>();
        RequestTotals totals = new(1, 1, 0, TimeSpan.FromMilliseconds(1), TimeSpan.FromMilliseconds(1), TimeSpan.FromMilliseconds(1), TimeSpan.FromMilliseconds(3));
        Record();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 100; i++)
            Record();
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);

        void Record()
        {
            metrics.FirstToken(TimeSpan.FromMilliseconds(2));
            metrics.Tokens(TimeSpan.FromMilliseconds(10), 4);
            metrics.Finished(EndReason.Stop);
            metrics.Answered(totals);
            metrics.Failed(null);
        }
    }

    [Test]
    public void Load_OfOneScrape_IsAskedForOnceAndIsOfThatMoment()
    {
        using ServiceProvider services = new ServiceCollection().AddMetrics().BuildServiceProvider();
        FakeWorkerGroup group = new();
        ServingMetrics metrics = new(services.GetRequiredService<IMeterFactory>(), TestModel.Model(), group);
        int asked = 0;
        LoadMetrics load = new(metrics, () => Counts(++asked), group);
        List<double> seen = [];
        using MeterListener scraper = new() { InstrumentPublished = (instrument, listener) => { if (instrument.Meter == metrics.Meter && instrument.Name != "tpserve.group_ready") listener.EnableMeasurementEvents(instrument); } };
        scraper.SetMeasurementEventCallback<double>((_, value, _, _) => seen.Add(value));
        scraper.SetMeasurementEventCallback<long>((_, value, _, _) => seen.Add(value));
        scraper.Start();
        for (int scrape = 1; scrape <= 3; scrape++)
        {
            seen.Clear();
            scraper.RecordObservableInstruments();
            Assert.That(asked, Is.EqualTo(scrape));
            Assert.That(seen.Where(value => value > 0).Distinct(), Is.EqualTo(new double[] { scrape }), "all of the same moment");
        }
        GC.KeepAlive(load);

        static EngineLoad Counts(int n) => new()
        {
            RunningSequences = n,
            WaitingSequences = n,
            WaitingTokens = n,
            UsedBlocks = n,
            CachedBlocks = n,
            TotalBlocks = 1,
            BlockTokens = n,
            Steps = n,
            GeneratedTokens = n,
            PromptTokens = n,
            Preemptions = n,
            Recoveries = n,
            CacheTokens = (n, n),
            DraftTokens = (n, n),
            Draining = false,
        };
    }

    [TestCase("application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1")]
    [TestCase("text/plain;version=1.0.0;escaping=allow-utf-8")]
    [TestCase("*/*")]
    public async Task Metrics_WhateverAScraperTakes_AreTextOfTheSameNames(string accept)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        using HttpRequestMessage request = new(HttpMethod.Get, "/metrics");
        request.Headers.TryAddWithoutValidation("Accept", accept);
        using HttpResponseMessage response = await api.Http.SendAsync(request);
        Assert.That((response.StatusCode, response.Content.Headers.ContentType!.MediaType), Is.EqualTo((HttpStatusCode.OK, "text/plain")));
        Assert.That(await response.Content.ReadAsStringAsync(), Does.Contain("\ntpserve:num_requests_running{model_name=\"test-model\"} 0").And.Not.Contain("tpserve_"));
    }
}
