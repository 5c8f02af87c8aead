using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using TpServe.Gateway.Api.OpenAi.Replies;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Workers;

namespace TpServe.Gateway.Api.OpenAi;

/// <summary>GET /v1/models, /health/live, /health/ready, /topology.</summary>
internal sealed class ServerEndpoints(
    RequestParser parser, InferenceEngine engine, IWorkerGroup group, ServingModel model, ServingSettings settings, ServerClock clock)
{
    /// <summary>Answers /v1/models.</summary>
    public Task ModelsAsync(HttpContext http) => WriteAsync(http, new ModelListReply([Model()]), OpenAiJson.Api.ModelListReply);

    /// <summary>Answers /v1/models/{id}.</summary>
    public Task ModelAsync(HttpContext http)
    {
        parser.RequireModel(http.Request.RouteValues["id"]?.ToString());
        return WriteAsync(http, Model(), OpenAiJson.Api.ModelReply);
    }

    /// <summary>Answers /health/live: the process serves.</summary>
    public static Task LiveAsync(HttpContext http) => WriteAsync(http, new StatusReply("live"), OpenAiJson.Api.StatusReply);

    /// <summary>Answers /health/ready: 200 where a request would run at once, else 503 and why.</summary>
    public Task ReadyAsync(HttpContext http)
    {
        bool ready = engine.IsReady;
        if (!ready)
        {
            http.Response.StatusCode = StatusCodes.Status503ServiceUnavailable;
            http.Response.Headers.RetryAfter = Math.Max(1, (int)Math.Ceiling(settings.RetryAfter.TotalSeconds)).ToString(CultureInfo.InvariantCulture);
        }
        string status = ready ? "ready" : group.State == GroupState.Ready ? "draining" : State();
        return WriteAsync(http, new StatusReply(status), OpenAiJson.Api.StatusReply);
    }

    /// <summary>Answers /topology.</summary>
    public Task TopologyAsync(HttpContext http)
    {
        TopologyFacts facts = group.Topology();
        return WriteAsync(
            http, new TopologyReply(facts.Epoch, State(), facts.DeviceReason, [.. facts.Ranks.Select(rank => new RankReply(rank))]), OpenAiJson.Api.TopologyReply);
    }

    private ModelReply Model() => new(model.Name, clock.StartedAt, settings.MaxModelLen);

    private string State() => group.State switch
    {
        GroupState.Starting => "starting",
        GroupState.Ready => "ready",
        GroupState.Lost => "lost",
        _ => "stopped",
    };

    private static async Task WriteAsync<T>(HttpContext http, T reply, JsonTypeInfo<T> type)
    {
        http.Response.ContentType = "application/json; charset=utf-8";
        await JsonSerializer.SerializeAsync(http.Response.Body, reply, type, http.RequestAborted);
    }
}
