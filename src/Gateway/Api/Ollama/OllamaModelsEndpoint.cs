using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Grpc.Core;
using TpServe.Checkpoint.Config;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Workers;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Api.Ollama;

/// <summary>What Ollama's API tells of models: /api/tags, /api/ps, /api/show, /api/version; and its routes that are not served, each refused by name.</summary>
internal sealed class OllamaModelsEndpoint(RequestParser parser, IWorkerGroup group, ServingModel model, ServingSettings settings, ServerClock clock)
{
    /// <summary>The version of Ollama whose API this is: clients compare it before they ask for tools or thinking.</summary>
    private const string SpokenVersion = "0.12.6";

    private const string Never = "9999-12-31T23:59:59Z";
    private const double Million = 1e6, Billion = 1e9;

    private readonly string _digest = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes($"{model.Name}\n{model.Files.Identity}")));

    /// <summary>Routes that change models.</summary>
    public static IReadOnlyList<(string Path, string Method)> Unserved { get; } =
    [
        ("/api/pull", HttpMethods.Post), ("/api/push", HttpMethods.Post), ("/api/create", HttpMethods.Post), ("/api/copy", HttpMethods.Post), ("/api/delete", HttpMethods.Delete),
    ];

    /// <summary>Answers /api/tags.</summary>
    public Task TagsAsync(HttpContext http) => JsonBody.WriteAsync(http, new OllamaModelsReply([.. model.Names.Select(Model)]), OllamaJson.Api.OllamaModelsReply);

    /// <summary>Answers /api/ps: what is served, once it is loaded.</summary>
    public Task LoadedAsync(HttpContext http)
    {
        bool onGpus = group.Topology().Ranks.Any(rank => rank.Device.StartsWith("cuda", StringComparison.OrdinalIgnoreCase));
        IEnumerable<OllamaModel> loaded = group.State != GroupState.Ready ? [] :
            [Model(model.Name) with { ExpiresAt = Never, SizeVram = onGpus ? model.Files.Bytes : 0, ContextLength = settings.MaxModelLen }];
        return JsonBody.WriteAsync(http, new OllamaModelsReply([.. loaded]), OllamaJson.Api.OllamaModelsReply);
    }

    /// <summary>Answers /api/version.</summary>
    public static Task VersionAsync(HttpContext http) => JsonBody.WriteAsync(http, new OllamaVersionReply(SpokenVersion, ServerClock.Version), OllamaJson.Api.OllamaVersionReply);

    /// <summary>Answers /api/show.</summary>
    public async Task ShowAsync(HttpContext http)
    {
        OllamaShowBody body = await JsonBody.ReadAsync(http, OllamaJson.Api.OllamaShowBody, settings.Limits.BodyBytes);
        parser.RequireModel(OllamaTranslation.Served(string.IsNullOrEmpty(body.Model) ? body.Name : body.Model, model));
        string template = model.ChatTemplate?.Source ?? "";
        OllamaShowReply reply = new(
            $"# {model.Name}, served by TpServe {ServerClock.Version}", Parameters(model.Generation), template, Details(), Info(), Capabilities(template),
            OllamaEndpoint.Rfc3339(DateTimeOffset.FromUnixTimeSeconds(clock.StartedAt)));
        await JsonBody.WriteAsync(http, reply, OllamaJson.Api.OllamaShowReply);
    }

    /// <summary>Refuses a route of <see cref="Unserved"/>.</summary>
    public static Task RefuseAsync(HttpContext http) => throw new RequestRejectedException(
        StatusCode.Unimplemented, "ROUTE_NOT_IMPLEMENTED",
        $"'{http.Request.Path}' is not implemented in this release: the one model is served that the server was started with.");

    private OllamaModel Model(string name) => new(name, OllamaEndpoint.Rfc3339(DateTimeOffset.FromUnixTimeSeconds(clock.StartedAt)), model.Files.Bytes, _digest, Details());

    private OllamaDetails Details()
    {
        double parameters = model.Files.Parameters;
        string size = parameters >= Billion
            ? string.Create(CultureInfo.InvariantCulture, $"{parameters / Billion:F1}B") : string.Create(CultureInfo.InvariantCulture, $"{parameters / Million:F2}M");
        return new OllamaDetails(model.Files.Format, model.Config.Architecture, [model.Config.Architecture], size, model.Files.Quantization);
    }

    private Dictionary<string, JsonElement> Info()
    {
        ModelConfig config = model.Config;
        string architecture = config.Architecture;
        return new Dictionary<string, JsonElement>
        {
            ["general.architecture"] = Text(architecture),
            ["general.basename"] = Text(model.Name),
            ["general.parameter_count"] = Number(model.Files.Parameters),
            [$"{architecture}.context_length"] = Number(settings.MaxModelLen),
            [$"{architecture}.embedding_length"] = Number(config.Hidden),
            [$"{architecture}.block_count"] = Number(config.Layers),
            [$"{architecture}.feed_forward_length"] = Number(config.Intermediate),
            [$"{architecture}.attention.head_count"] = Number(config.Heads),
            [$"{architecture}.attention.head_count_kv"] = Number(config.KvHeads),
            [$"{architecture}.attention.key_length"] = Number(config.HeadDim),
            [$"{architecture}.vocab_size"] = Number(config.Vocab),
        };

        static JsonElement Number(long number) => JsonSerializer.SerializeToElement(number, OllamaJson.Api.Int64);

        static JsonElement Text(string text) => JsonSerializer.SerializeToElement(text, OllamaJson.Api.String);
    }

    private static string Parameters(GenerationDefaults defaults)
    {
        (string Name, float? Value)[] all =
            [("temperature", defaults.Temperature), ("top_k", defaults.TopK), ("top_p", defaults.TopP), ("min_p", defaults.MinP), ("repeat_penalty", defaults.RepetitionPenalty)];
        return string.Join('\n', all.Where(one => one.Value is not null).Select(one => string.Create(CultureInfo.InvariantCulture, $"{one.Name} {one.Value}")));
    }

    // A template that speaks of tools or of thinking is of a model that has learnt it.
    private static List<string> Capabilities(string template)
    {
        List<string> capabilities = ["completion"];
        if (template.Contains("tools", StringComparison.Ordinal))
            capabilities.Add("tools");
        if (template.Contains("<think>", StringComparison.Ordinal) || template.Contains("enable_thinking", StringComparison.Ordinal) || template.Contains("reasoning_effort", StringComparison.Ordinal))
            capabilities.Add("thinking");
        return capabilities;
    }
}
