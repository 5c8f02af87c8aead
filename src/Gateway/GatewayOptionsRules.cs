using Microsoft.Extensions.Options;
using TpServe.Gateway.Devices;

namespace TpServe.Gateway;

/// <summary>The generated attribute checks.</summary>
[OptionsValidator]
internal sealed partial class GatewayOptionsAttributes : IValidateOptions<GatewayOptions>;

/// <summary>Rules across fields and formats; every fault is reported, not only the first.</summary>
internal sealed class GatewayOptionsRules : IValidateOptions<GatewayOptions>
{
    public ValidateOptionsResult Validate(string? name, GatewayOptions options)
    {
        List<string> faults = [];
        if (options.Tp is { } tp && (tp < 1 || tp > Sharding.Partition.MaxDegree))
            faults.Add($"Tp: {tp} is not in 1..{Sharding.Partition.MaxDegree}.");
        if (!DeviceWish.TryParse(options.Device, out _, out string? deviceFault))
            faults.Add($"Device: {deviceFault}");
        if (options.Transport == "cuda-ipc" && options.Device is DeviceWish.Cpu)
            faults.Add("Transport: cuda-ipc connects GPUs; Device is cpu.");
        CheckAddress(nameof(options.Http), options.Http);
        CheckAddress(nameof(options.Grpc), options.Grpc);
        if (options.Http == options.Grpc)
            faults.Add($"Http and Grpc: both are {options.Http}; they need ports of their own.");
        foreach (string worker in options.Workers)
            if (!Uri.TryCreate(worker, UriKind.Absolute, out Uri? uri) || uri.Scheme is not ("http" or "https"))
                faults.Add($"Workers: '{worker}' is not an http://host:port address.");
        if (options.Workers.Count > Sharding.Partition.MaxDegree)
            faults.Add($"Workers: {options.Workers.Count} are more than {Sharding.Partition.MaxDegree}.");
        if (options.Workers.Count > 0 && options.SecretFile.Length == 0)
            faults.Add("SecretFile: external workers need the file with the secret they were started with.");
        if (options.SecretFile.Length > 0 && !File.Exists(options.SecretFile))
            faults.Add($"SecretFile: '{options.SecretFile}' does not exist.");
        if (options.ChunkTokens > options.MaxStepTokens)
            faults.Add($"ChunkTokens: {options.ChunkTokens} is more than MaxStepTokens, {options.MaxStepTokens}.");
        if (options.MaxRunning > options.MaxStepTokens)
            faults.Add($"MaxRunning: {options.MaxRunning} is more than MaxStepTokens, {options.MaxStepTokens}; each running request takes a token of every step.");
        return faults.Count == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(faults);

        void CheckAddress(string setting, string address)
        {
            if (!Endpoints.TryParse(address, out _, out string? fault))
                faults.Add($"{setting}: {fault}");
        }
    }
}
