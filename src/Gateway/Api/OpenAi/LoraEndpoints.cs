using TpServe.Gateway.Api.OpenAi.Bodies;
using TpServe.Gateway.Api.OpenAi.Replies;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Workers;

namespace TpServe.Gateway.Api.OpenAi;

/// <summary>POST /v1/load_lora_adapter and /v1/unload_lora_adapter, in vLLM's words.</summary>
internal sealed class LoraEndpoints(ServingModel model, IWorkerGroup group, ServingSettings settings)
{
    /// <summary>Answers /v1/load_lora_adapter once every worker has it.</summary>
    public async Task LoadAsync(HttpContext http)
    {
        LoadLoraBody body = await JsonBody.ReadAsync(http, OpenAiJson.Api.LoadLoraBody, settings.Limits.BodyBytes);
        string name = Given(body.LoraName, "lora_name"), path = Given(body.LoraPath, "lora_path");
        await model.Loras.LoadAsync(name, path, model.Names, group, http.RequestAborted);
        await JsonBody.WriteAsync(http, new StatusReply("loaded"), OpenAiJson.Api.StatusReply);
    }

    /// <summary>Answers /v1/unload_lora_adapter: no request finds it from now on.</summary>
    public async Task UnloadAsync(HttpContext http)
    {
        UnloadLoraBody body = await JsonBody.ReadAsync(http, OpenAiJson.Api.UnloadLoraBody, settings.Limits.BodyBytes);
        int running = model.Loras.Unload(Given(body.LoraName, "lora_name"));
        await JsonBody.WriteAsync(http, new StatusReply(running == 0 ? "unloaded" : "leaving"), OpenAiJson.Api.StatusReply);
    }

    private static string Given(string? value, string field) =>
        string.IsNullOrEmpty(value) ? throw RequestRejectedException.Invalid(field, $"'{field}' must be given.") : value;
}
