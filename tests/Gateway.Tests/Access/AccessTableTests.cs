using System.Net;
using System.Net.Http.Headers;
using Grpc.AspNetCore.Server;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using NUnit.Framework;
using TpServe.Gateway.Access;
using TpServe.Gateway.Tests.Api;

namespace TpServe.Gateway.Tests.Access;

/// <summary>The decision on every route and rpc, walked from outside: a new one without a decision fails here.</summary>
public sealed class AccessTableTests
{
    [Test]
    public async Task Table_EveryRouteAndRpc_HasADecisionAndEveryDecisionARoute()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        HashSet<string> mapped = [.. api.Endpoints.Select(AccessTable.PathOf).OfType<string>()];
        Assert.That(mapped.Where(path => api.Endpoints.Any(endpoint => AccessTable.PathOf(endpoint) == path && AccessTable.Of(endpoint) == AccessRule.Undecided)), Is.Empty, "Access/AccessTable.cs decides on each");
        Assert.That(mapped, Has.Count.GreaterThan(60));
        Assert.That(AccessTable.Paths.Except(mapped).Where(path => path is not "/grpc.health.v1.Health/List"), Is.Empty, "rows of what is not mapped");
    }

    [Test, CancelAfter(60_000)]
    public async Task Everything_WithoutAKeyAndWithoutItsScope_IsRefusedFromOutside(CancellationToken cancellation)
    {
        using ScratchKeys keys = new();
        string generate = keys.Add("one");
        await using ApiFixture api = await ApiFixture.StartAsync(settings: keys.Settings);
        using HttpClient grpc = new() { BaseAddress = api.GrpcAddress, DefaultRequestVersion = HttpVersion.Version20, DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact };
        int routes = 0, rpcs = 0;
        foreach (Endpoint endpoint in api.Endpoints)
        {
            string path = AccessTable.PathOf(endpoint) ?? (endpoint as RouteEndpoint)!.RoutePattern.RawText!;
            AccessRule rule = AccessTable.Of(endpoint);
            if (rule == AccessRule.Open)
                continue;
            if (endpoint.Metadata.GetMetadata<GrpcMethodMetadata>() is { } rpc || path.Contains("{unimplemented", StringComparison.Ordinal))
            {
                rpcs++;
                string method = path.Replace("{unimplementedService}", "a.B", StringComparison.Ordinal).Split('{')[0];
                Assert.That(await RpcAsync(grpc, method, null, cancellation), Is.EqualTo("16"), path);
                Assert.That(await RpcAsync(grpc, method, "nobody's", cancellation), Is.EqualTo("16"), path);
                if (rule == AccessRule.Admin)
                    Assert.That(await RpcAsync(grpc, method, generate, cancellation), Is.EqualTo("7"), path);
                continue;
            }
            foreach (string verb in endpoint.Metadata.GetMetadata<IHttpMethodMetadata>()?.HttpMethods ?? ["GET", "POST", "PUT", "OPTIONS"])
            {
                routes++;
                Assert.That(await RouteAsync(api, verb, path, null, cancellation), Is.EqualTo(HttpStatusCode.Unauthorized), $"{verb} {path}");
                Assert.That(await RouteAsync(api, verb, path, "nobody's", cancellation), Is.EqualTo(HttpStatusCode.Unauthorized), $"{verb} {path}");
                if (rule == AccessRule.Admin)
                    Assert.That(await RouteAsync(api, verb, path, generate, cancellation), Is.EqualTo(HttpStatusCode.Forbidden), $"{verb} {path}");
                else
                    Assert.That(await RouteAsync(api, verb, path, generate, cancellation), Is.Not.EqualTo(HttpStatusCode.Unauthorized).And.Not.EqualTo(HttpStatusCode.Forbidden), $"{verb} {path}");
            }
        }
        Assert.That((routes, rpcs), Is.GreaterThan((40, 30)));
        Assert.That(api.Group.Plans, Is.Empty, "nothing was computed for anybody");
        foreach (string nowhere in new[] { "/nowhere", "/v1/../metrics", "/v1//completions", "/V1/COMPLETIONS", "/v1/completions/", "/metrics/", "/topology/" })
            Assert.That(await RouteAsync(api, "GET", nowhere, null, cancellation), Is.EqualTo(HttpStatusCode.Unauthorized), nowhere);
    }

    [Test]
    public async Task Health_WithoutAKey_Answers()
    {
        using ScratchKeys keys = new();
        keys.Add("one");
        await using ApiFixture api = await ApiFixture.StartAsync(settings: keys.Settings);
        Assert.That((await api.GetAsync("/health/live")).GetRawText(), Is.EqualTo("""{"status":"live"}"""));
        Assert.That((await api.GetAsync("/health/ready")).GetRawText(), Is.EqualTo("""{"status":"ready"}"""));
        Grpc.Health.V1.HealthCheckResponse health = await new Grpc.Health.V1.Health.HealthClient(api.Channel).CheckAsync(new Grpc.Health.V1.HealthCheckRequest());
        Assert.That(health.Status, Is.EqualTo(Grpc.Health.V1.HealthCheckResponse.Types.ServingStatus.Serving));
    }

    private static async Task<HttpStatusCode> RouteAsync(ApiFixture api, string verb, string path, string? key, CancellationToken cancellation)
    {
        using HttpRequestMessage request = new(new HttpMethod(verb), path.Replace("{**id}", "x", StringComparison.Ordinal).Replace("{id}", "x", StringComparison.Ordinal));
        if (key is not null)
            request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", key);
        if (verb is "POST" or "PUT" or "DELETE")
            request.Content = new StringContent("{\"messages\":0}", System.Text.Encoding.UTF8, "application/json");
        using HttpResponseMessage response = await api.Http.SendAsync(request, cancellation);
        if (response.StatusCode == HttpStatusCode.Unauthorized)
            Assert.That(response.Headers.WwwAuthenticate.Single().Scheme, Is.EqualTo("Bearer"));
        return response.StatusCode;
    }

    private static async Task<string> RpcAsync(HttpClient grpc, string path, string? key, CancellationToken cancellation)
    {
        using HttpRequestMessage request = new(HttpMethod.Post, path) { Content = new ByteArrayContent([0, 0, 0, 0, 0]), Version = HttpVersion.Version20, VersionPolicy = HttpVersionPolicy.RequestVersionExact };
        request.Content.Headers.ContentType = new MediaTypeHeaderValue("application/grpc");
        request.Headers.Add("te", "trailers");
        if (key is not null)
            request.Headers.Add("authorization", "Bearer " + key);
        using HttpResponseMessage response = await grpc.SendAsync(request, cancellation);
        await response.Content.ReadAsByteArrayAsync(cancellation);
        return response.Headers.TryGetValues("grpc-status", out IEnumerable<string>? status) || response.TrailingHeaders.TryGetValues("grpc-status", out status) ? status.Single() : $"none: {response}";
    }
}
