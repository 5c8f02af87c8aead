using Grpc.Core;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using TpServe.Gateway.Api.Grpc;
using TpServe.Gateway.Api.OpenAi;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Workers;

namespace TpServe.Gateway.Api;

/// <summary>The served API as a whole: engine, gRPC and HTTP. The caller registers an <see cref="IWorkerGroup"/> beside it.</summary>
public static class TpServeApi
{
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
            provider.GetRequiredService<TimeProvider>(), provider.GetRequiredService<ILogger<InferenceEngine>>()));
        services.AddHostedService<EngineService>();
        services.AddSingleton<TokenTexts>();
        services.AddSingleton<ServerClock>();

        services.AddSingleton<ProtoReplies>();
        services.AddGrpc(options =>
        {
            options.Interceptors.Add<ErrorInterceptor>();
            options.MaxReceiveMessageSize = settings.Limits.BodyBytes;
        });
        services.AddGrpcReflection();
        services.AddGrpcHealthChecks(options =>
        {
            options.Services.Map("tpserve.v1.Inference", _ => true);
            options.Services.Map("tpserve.v1.Control", _ => true);
        }).AddCheck<EngineHealthCheck>("engine");
        services.Configure<HealthCheckPublisherOptions>(options => options.Delay = options.Period = s_watchPeriod);

        services.AddSingleton<HttpErrors>();
        services.AddSingleton<CompletionEndpoint>();
        services.AddSingleton<ChatEndpoint>();
        services.AddSingleton<TokenizerEndpoints>();
        services.AddSingleton<ServerEndpoints>();
        return services;
    }

    /// <summary>Maps every rpc and route.</summary>
    public static WebApplication MapTpServeApi(this WebApplication app)
    {
        app.Use(MalformedMessages.AnswerAsync);
        app.MapGrpcService<InferenceService>();
        app.MapGrpcService<ControlService>();
        app.MapGrpcReflectionService();
        app.MapGrpcHealthChecksService();

        IServiceProvider services = app.Services;
        HttpErrors errors = services.GetRequiredService<HttpErrors>();
        TokenizerEndpoints tokenizer = services.GetRequiredService<TokenizerEndpoints>();
        ServerEndpoints server = services.GetRequiredService<ServerEndpoints>();
        app.MapPost("/v1/completions", errors.Guard(services.GetRequiredService<CompletionEndpoint>().HandleAsync));
        app.MapPost("/v1/chat/completions", errors.Guard(services.GetRequiredService<ChatEndpoint>().HandleAsync));
        app.MapPost("/tokenize", errors.Guard(tokenizer.TokenizeAsync));
        app.MapPost("/detokenize", errors.Guard(tokenizer.DetokenizeAsync));
        app.MapGet("/v1/models", errors.Guard(server.ModelsAsync));
        app.MapGet("/v1/models/{**id}", errors.Guard(server.ModelAsync));
        app.MapGet("/health/live", errors.Guard(ServerEndpoints.LiveAsync));
        app.MapGet("/health/ready", errors.Guard(server.ReadyAsync));
        app.MapGet("/topology", errors.Guard(server.TopologyAsync));
        app.Use(AnswerUnknownRoutesAsync);
        return app;
    }

    // Paths and methods that nothing is mapped to get an error body too.
    private static async Task AnswerUnknownRoutesAsync(HttpContext http, RequestDelegate next)
    {
        await next(http);
        if (http.Response is { HasStarted: false, ContentLength: null, ContentType: null, StatusCode: 404 or 405 })
            await HttpErrors.AnswerAsync(http, http.Response.StatusCode, new ApiError(
                StatusCode.NotFound, http.Response.StatusCode == 404 ? "ROUTE_NOT_FOUND" : "METHOD_NOT_ALLOWED",
                $"{http.Request.Method} {http.Request.Path} is not served here."));
    }
}
