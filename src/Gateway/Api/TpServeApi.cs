using Grpc.Core;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using TpServe.Gateway.Access;
using TpServe.Gateway.Api.Anthropic;
using TpServe.Gateway.Api.Grpc;
using TpServe.Gateway.Api.Grpc.OpenEngine;
using TpServe.Gateway.Api.Ollama;
using TpServe.Gateway.Api.OpenAi;
using TpServe.Gateway.Api.OpenApi;
using TpServe.Gateway.Api.Responses;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Settings;
using TpServe.Gateway.Telemetry;
using TpServe.Gateway.Workers;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Api;

/// <summary>The served API as a whole: engine, gRPC and HTTP. The caller registers an <see cref="IWorkerGroup"/> beside it.</summary>
public static class TpServeApi
{
    private static readonly string[] s_post = [HttpMethods.Post];
    private static readonly string[] s_get = [HttpMethods.Get, HttpMethods.Head]; // the server leaves the body of an answer to HEAD out
    private static readonly string[] s_delete = [HttpMethods.Delete];
    private static readonly TimeSpan s_preflight = TimeSpan.FromMinutes(10);
    private static readonly TimeSpan s_watchPeriod = TimeSpan.FromSeconds(1); // how soon a health Watch hears of a change

    /// <summary>Registers engine, services and endpoints for one model.</summary>
    public static IServiceCollection AddTpServeApi(this IServiceCollection services, ServingModel model, ServingSettings settings)
    {
        services.TryAddSingleton(TimeProvider.System);
        services.AddSingleton(model);
        services.AddSingleton(settings);
        services.AddSingleton(provider => new RequestParser(model, settings, provider.GetRequiredService<TimeProvider>()));
        services.AddSingleton(provider => new InferenceEngine(
            provider.GetRequiredService<IWorkerGroup>(), model.Tokenizer, settings.Scheduler, settings.Engine,
            provider.GetRequiredService<TimeProvider>(), provider.GetRequiredService<ILogger<InferenceEngine>>(), provider.GetService<ServingMetrics>(), model.Loras));
        services.AddHostedService<EngineService>();
        services.AddSingleton(provider => new KeyRing(settings.KeysFile, provider.GetRequiredService<TimeProvider>(), provider.GetRequiredService<ILogger<KeyRing>>()));
        services.AddHostedService(provider => provider.GetRequiredService<KeyRing>());
        services.AddSingleton<KeyQuota>();
        services.AddSingleton<AccessGate>();
        services.AddSingleton<BrowserRules>();
        services.AddSingleton<RequestLog>();
        services.AddSingleton<TokenTexts>();
        services.AddSingleton<ServerClock>();

        services.AddSingleton<ServerFacts>();
        services.AddSingleton<ProtoReplies>();
        services.AddGrpc(options =>
        {
            options.Interceptors.Add<ErrorInterceptor>();
            options.MaxReceiveMessageSize = settings.Limits.BodyBytes;
            options.ResponseCompressionAlgorithm = "gzip"; // of what MessageCompression lets be compressed
            options.ResponseCompressionLevel = System.IO.Compression.CompressionLevel.Fastest;
            MessageCompression.Bound(options, settings.Limits.BodyBytes);
        });
        services.AddGrpcReflection();
        services.AddGrpcHealthChecks(options =>
        {
            options.Services.Map("tpserve.v1.Inference", _ => true);
            options.Services.Map("tpserve.v1.Control", _ => true);
        }).AddCheck<EngineHealthCheck>("engine");
        services.Configure<HealthCheckPublisherOptions>(options => options.Delay = options.Period = s_watchPeriod);

        services.AddRequestDecompression(decompression => decompression.DecompressionProviders.Remove("br")); // what is left is gzip and deflate; JsonBody bounds what comes of it
        services.AddCors(cors => cors.AddDefaultPolicy(policy => policy
            .WithOrigins([.. settings.CorsOrigins]).WithMethods(HttpMethods.Get, HttpMethods.Head, HttpMethods.Post, HttpMethods.Delete).AllowAnyHeader().WithExposedHeaders(["X-Request-Id", "request-id", "Retry-After", "x-should-retry", "tpserve-wire", "WWW-Authenticate", .. KeyQuota.Headers, "grpc-status", "grpc-message", "grpc-status-details-bin", "grpc-encoding"])
            .SetPreflightMaxAge(s_preflight)));
        services.AddApiDocument();
        services.AddSingleton<HttpErrors>();
        services.AddSingleton<CompletionEndpoint>();
        services.AddSingleton<ChatEndpoint>();
        services.AddSingleton<EmbeddingEndpoint>();
        services.AddSingleton(provider => new ResponseStore(settings.Responses, provider.GetRequiredService<TimeProvider>()));
        services.AddSingleton<ResponsesEndpoint>();
        services.AddSingleton<MessagesEndpoint>();
        services.AddSingleton<OllamaEndpoint>();
        services.AddSingleton<OllamaEmbedEndpoint>();
        services.AddSingleton<OllamaModelsEndpoint>();
        services.AddSingleton<LoraEndpoints>();
        services.AddSingleton<TokenizerEndpoints>();
        services.AddSingleton<ServerEndpoints>();
        return services;
    }

    /// <summary>Maps every rpc and route.</summary>
    public static WebApplication MapTpServeApi(this WebApplication app)
    {
        IServiceProvider services = app.Services;
        app.Use(services.GetRequiredService<RequestLog>().WriteAsync);
        app.Use(next => ReaderPatience.Around(next, services.GetRequiredService<ServingSettings>().ReaderPatience, services.GetRequiredService<TimeProvider>()));
        app.UseGrpcWeb(new GrpcWebOptions { DefaultEnabled = true }); // every rpc also for browsers, and over HTTP/1.1
        app.Use(services.GetRequiredService<BrowserRules>().CheckAsync);
        if (services.GetRequiredService<ServingSettings>().CorsOrigins.Count > 0)
            app.UseCors();
        app.Use(services.GetRequiredService<AccessGate>().CheckAsync);
        app.Use(MalformedMessages.AnswerAsync);
        if (services.GetRequiredService<ServingSettings>().Wire is var wire and not Wire.F32)
            app.Use((http, next) =>
            {
                http.Response.Headers["tpserve-wire"] = Words.Wires.Of(wire); // outputs are not those of one worker: never silently
                return next(http);
            });
        app.UseRequestDecompression();
        app.MapGrpcService<InferenceService>();
        app.MapGrpcService<ControlService>();
        app.MapGrpcService<EngineInferenceService>();
        app.MapGrpcService<EngineControlService>();
        app.MapGrpcReflectionService();
        app.MapGrpcHealthChecksService();

        HttpErrors errors = services.GetRequiredService<HttpErrors>();
        TokenizerEndpoints tokenizer = services.GetRequiredService<TokenizerEndpoints>();
        ServerEndpoints server = services.GetRequiredService<ServerEndpoints>();
        Map(s_post, "/v1/completions", services.GetRequiredService<CompletionEndpoint>().HandleAsync);
        Map(s_post, "/v1/chat/completions", services.GetRequiredService<ChatEndpoint>().HandleAsync);
        Map(s_post, "/v1/embeddings", services.GetRequiredService<EmbeddingEndpoint>().HandleAsync);
        MapResponses();
        MapMessages();
        MapOllama();
        Map(s_post, "/tokenize", tokenizer.TokenizeAsync);
        Map(s_post, "/detokenize", tokenizer.DetokenizeAsync);
        Map(s_post, "/apply-template", tokenizer.ApplyTemplateAsync);
        LoraEndpoints loras = services.GetRequiredService<LoraEndpoints>();
        Map(s_post, "/v1/load_lora_adapter", loras.LoadAsync);
        Map(s_post, "/v1/unload_lora_adapter", loras.UnloadAsync);
        Map(s_get, "/version", ServerEndpoints.VersionAsync);
        Map(s_get, "/v1/models", server.ModelsAsync);
        Map(s_get, "/v1/models/{**id}", server.ModelAsync);
        Map(s_get, "/health/live", ServerEndpoints.LiveAsync);
        Map(s_get, "/health/ready", server.ReadyAsync);
        Map(s_get, "/topology", server.TopologyAsync);
        Map(s_get, "/load", server.LoadAsync);
        Map(s_get, "/info", server.InfoAsync);
        Map(s_get, "/report", server.ReportAsync);
        if (services.GetService<LoadMetrics>() is not null)
            PrometheusEndpoint.Map(app);
        Map(s_get, "/", PageFiles.IndexAsync);
        Map(s_get, "/page/{**file}", PageFiles.FileAsync);
        app.MapApiDocument();
        app.Map(ApiDocument.Path, http => AnswerOtherMethodAsync(http, [HttpMethods.Get]));
        app.Use(AnswerUnknownRoutesAsync);
        return app;

        void MapResponses()
        {
            ResponsesEndpoint responses = services.GetRequiredService<ResponsesEndpoint>();
            Map(s_post, "/v1/responses", responses.CreateAsync);
            Serve(s_get, "/v1/responses/{id}", responses.GetAsync);
            Serve(s_delete, "/v1/responses/{id}", responses.DeleteAsync);
            Refuse([.. s_get, .. s_delete], "/v1/responses/{id}");
            Map(s_get, "/v1/responses/{id}/input_items", responses.InputItemsAsync);
            Map(s_post, "/v1/responses/{id}/cancel", responses.CancelAsync);
        }

        void MapMessages()
        {
            MessagesEndpoint messages = services.GetRequiredService<MessagesEndpoint>();
            Map(s_post, "/v1/messages", messages.CreateAsync);
            Map(s_post, "/v1/messages/count_tokens", messages.CountAsync);
        }

        void MapOllama()
        {
            OllamaEndpoint ollama = services.GetRequiredService<OllamaEndpoint>();
            OllamaModelsEndpoint models = services.GetRequiredService<OllamaModelsEndpoint>();
            Map(s_post, "/api/chat", ollama.ChatAsync);
            Map(s_post, "/api/generate", ollama.GenerateAsync);
            OllamaEmbedEndpoint embed = services.GetRequiredService<OllamaEmbedEndpoint>();
            Map(s_post, "/api/embed", embed.EmbedAsync);
            Map(s_post, "/api/embeddings", embed.EmbedOneAsync);
            Map(s_get, "/api/tags", models.TagsAsync);
            Map(s_get, "/api/ps", models.LoadedAsync);
            Map(s_get, "/api/version", OllamaModelsEndpoint.VersionAsync);
            Map(s_post, "/api/show", models.ShowAsync);
            foreach ((string path, string method) in OllamaModelsEndpoint.Unserved)
                Map([method], path, OllamaModelsEndpoint.RefuseAsync);
        }

        void Map(string[] methods, string path, Func<HttpContext, Task> handle)
        {
            Serve(methods, path, handle);
            Refuse(methods, path);
        }

        void Serve(string[] methods, string path, Func<HttpContext, Task> handle) =>
            ApiDocument.Describe(app.MapMethods(path, methods, errors.Guard(handle)), methods[0], path, handle);

        // Whatever else is asked of the path.
        void Refuse(string[] served, string path) => app.Map(path, http => AnswerOtherMethodAsync(http, served));
    }

    /// <summary>OPTIONS tells what a route serves; every other method that it does not is refused with the same.</summary>
    private static async Task AnswerOtherMethodAsync(HttpContext http, string[] methods)
    {
        http.Response.Headers.Allow = string.Join(", ", [.. methods, HttpMethods.Options]);
        if (HttpMethods.IsOptions(http.Request.Method))
            http.Response.StatusCode = StatusCodes.Status204NoContent;
        else
            await HttpErrors.AnswerAsync(http, StatusCodes.Status405MethodNotAllowed, new ApiError(
                StatusCode.Unimplemented, "METHOD_NOT_ALLOWED", $"{http.Request.Method} {http.Request.Path} is not served here; {http.Response.Headers.Allow} are."));
    }

    // Paths that nothing is mapped to get an error body too.
    private static async Task AnswerUnknownRoutesAsync(HttpContext http, RequestDelegate next)
    {
        await next(http);
        if (http.Response is { HasStarted: false, ContentLength: null, ContentType: null, StatusCode: StatusCodes.Status404NotFound })
            await HttpErrors.AnswerAsync(http, http.Response.StatusCode, new ApiError(
                StatusCode.NotFound, "ROUTE_NOT_FOUND", $"{http.Request.Method} {http.Request.Path} is not served here; GET /openapi.json lists what is."));
    }
}
