using System.Globalization;
using Google.Protobuf;
using Grpc.Core;
using TpServe.Gateway.Adapters;
using TpServe.Gateway.Api.OpenAi.Replies;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Reports;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Workers;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Api.OpenAi;

/// <summary>GET /v1/models, /version, /health/live, /health/ready, /topology, /load, /info, /report.</summary>
internal sealed class ServerEndpoints(
    RequestParser parser, InferenceEngine engine, IWorkerGroup group, ServingModel model, ServingSettings settings, ServerClock clock, ServerFacts facts)
{
    // The proto's own names, and every field: what is zero is told too.
    private static readonly JsonFormatter s_protoJson = new(JsonFormatter.Settings.Default.WithPreserveProtoFieldNames(true).WithFormatDefaultValues(true));

    /// <summary>Answers /v1/models.</summary>
    public Task ModelsAsync(HttpContext http) => JsonBody.WriteAsync(http, new ModelListReply([.. model.Names.Select(Model), .. model.Loras.Served.Select(Lora)]), OpenAiJson.Api.ModelListReply);

    /// <summary>Answers /v1/models/{id}.</summary>
    public Task ModelAsync(HttpContext http)
    {
        string id = http.Request.RouteValues["id"]?.ToString() ?? model.Name;
        ModelReply reply = parser.RequireModel(id) is { } lora ? Lora(lora) : Model(id);
        return JsonBody.WriteAsync(http, reply, OpenAiJson.Api.ModelReply);
    }

    /// <summary>Answers /version.</summary>
    public static Task VersionAsync(HttpContext http) => JsonBody.WriteAsync(http, new VersionReply(ServerClock.Version), OpenAiJson.Api.VersionReply);

    /// <summary>Answers /health/live: the process serves.</summary>
    public static Task LiveAsync(HttpContext http) => JsonBody.WriteAsync(http, new StatusReply("live"), OpenAiJson.Api.StatusReply);

    /// <summary>Answers /health/ready: 200 where a request would run at once, else 503 and why.</summary>
    public Task ReadyAsync(HttpContext http)
    {
        bool ready = engine.IsReady;
        if (!ready)
        {
            http.Response.StatusCode = StatusCodes.Status503ServiceUnavailable;
            http.Response.Headers.RetryAfter = Math.Max(1, (int)Math.Ceiling(settings.RetryAfter.TotalSeconds)).ToString(CultureInfo.InvariantCulture);
        }
        string status = ready ? "ready" : group.State == GroupState.Ready ? "draining" : group.State.ToString().ToLowerInvariant();
        return JsonBody.WriteAsync(http, new StatusReply(status), OpenAiJson.Api.StatusReply);
    }

    /// <summary>Answers /topology.</summary>
    public Task TopologyAsync(HttpContext http) => WriteAsync(http, group.Topology());

    /// <summary>Answers /load.</summary>
    public Task LoadAsync(HttpContext http) => WriteAsync(http, facts.Load());

    /// <summary>Answers /info.</summary>
    public Task InfoAsync(HttpContext http) => WriteAsync(http, facts.Info());

    /// <summary>Answers /report: the page as it lies in the folder that the settings name; nothing of the request says which file.</summary>
    public async Task ReportAsync(HttpContext http)
    {
        byte[] page = await ReportFiles.ReadPageAsync(settings.ReportFolder, http.RequestAborted)
            ?? throw new RequestRejectedException(StatusCode.NotFound, "REPORT_NOT_FOUND", ReportFiles.Missing(settings.ReportFolder));
        http.Response.ContentType = "text/html; charset=utf-8";
        http.Response.Headers.ContentSecurityPolicy = "default-src 'none'; style-src 'unsafe-inline'";
        http.Response.Headers.XContentTypeOptions = "nosniff";
        http.Response.Headers.CacheControl = "no-cache";
        await http.Response.Body.WriteAsync(page, http.RequestAborted);
    }

    private static Task WriteAsync(HttpContext http, IMessage message)
    {
        http.Response.ContentType = "application/json; charset=utf-8";
        return http.Response.WriteAsync(s_protoJson.Format(message), http.RequestAborted);
    }

    private ModelReply Lora(ServedLora lora) => new(lora.Name, lora.Name, clock.StartedAt, settings.MaxModelLen) { Parent = model.Name };

    private ModelReply Model(string name) => new(name, model.Name, clock.StartedAt, settings.MaxModelLen);
}
