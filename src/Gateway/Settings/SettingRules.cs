using System.Globalization;
using TpServe.Checkpoint;
using TpServe.Gateway.Access;
using TpServe.Links;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Settings;

/// <summary>Rules across settings, and what must exist outside; every fault is reported, not only the first.</summary>
internal static class SettingRules
{
    private const int MostSecretBytes = 4096; // it goes into every call's headers

    /// <param name="options">The settings, each within its range.</param>
    /// <param name="unread">Names of those that could not be read: their values are defaults that nobody chose, so no rule looks at them.</param>
    public static IEnumerable<string> Faults(GatewayOptions options, IReadOnlySet<string> unread)
    {
        if (Read(nameof(options.Transport), nameof(options.Device)) && options is { Transport: Transport.CudaIpc, Device.Kind: DeviceKind.Cpu })
            yield return "--transport: cuda-ipc connects GPUs; --device is cpu.";
        if (Read(nameof(options.Transport), nameof(options.Wire)) && options is { Transport: Transport.CudaIpc, Wire: not Wire.F32 })
            yield return $"--wire: {Words.Wires.Of(options.Wire)} is not sent over cuda-ipc, whose ranks read each other's memory in place; --transport auto, shm, ring or hosted sends it.";
        if (Read(nameof(options.WireFeedback)) && options.WireFeedback)
            yield return "--wire-feedback: error feedback is not served: what one step lost would be added to another's rows, and a token would depend on batch, chunks and what was computed before it.";
        if (Read(nameof(options.Http), nameof(options.Grpc)) && Endpoints.Clash(Endpoints.Parse(options.Http), Endpoints.Parse(options.Grpc)))
            yield return $"--http and --grpc: {options.Http} and {options.Grpc} are one; they need ports of their own.";
        if (Read(nameof(options.Workers)) && options.Workers.Count > 0 && options.SecretFile.Length == 0)
            yield return "--secret-file: external workers need the file with the secret they were started with.";
        foreach (IGrouping<string, string> address in options.Workers.GroupBy(address => address.TrimEnd('/'), StringComparer.OrdinalIgnoreCase).Where(address => address.Count() > 1))
            yield return $"--worker: {address.Key} is given {address.Count()} times; each rank needs a worker of its own.";
        if (Read(nameof(options.Workers)))
            foreach (string address in options.Workers)
                if (LinkSecurity.Fault(address, options.Tls.Length > 0, options.InsecureLinks) is { } unfit)
                    yield return $"--worker: {address} {unfit}.";
        if (Read(nameof(options.Loras), nameof(options.MaxLoras)) && options.Loras.Count > options.MaxLoras)
            yield return string.Create(CultureInfo.InvariantCulture, $"--lora: {options.Loras.Count} adapters are more than --max-loras, {options.MaxLoras}.");
        if (options.Tls.Length > 0 && TlsFault(options.Tls) is { } bad)
            yield return $"--tls: {bad}";
        if (options.SecretFile.Length > 0 && FileFault(options.SecretFile) is { } fault)
            yield return $"--secret-file: '{options.SecretFile}' {fault}";
        if (options.Keys.Length > 0 && KeysFault(options.Keys) is { } wrongKeys)
            yield return $"--keys: {wrongKeys}";
        if (options.ServerCert.Length > 0 != options.ServerKey.Length > 0)
            yield return "--server-cert and --server-key: one without the other is no TLS.";
        if (options.ClientCa.Length > 0 && options.ServerCert.Length == 0)
            yield return "--client-ca: certificates of clients are only asked for over TLS; it needs --server-cert.";
        if (options.ServerCert.Length > 0 && options.ServerKey.Length > 0 && CertificateFault(options) is { } wrongCertificate)
            yield return $"--server-cert: {wrongCertificate}";
        if (Read(nameof(options.ChunkTokens), nameof(options.MaxStepTokens)) && options.ChunkTokens > options.MaxStepTokens)
            yield return string.Create(CultureInfo.InvariantCulture, $"--chunk-tokens: {options.ChunkTokens} is more than --max-step-tokens, {options.MaxStepTokens}.");
        if (Read(nameof(options.MaxRunning), nameof(options.MaxStepTokens)) && options.MaxRunning > options.MaxStepTokens)
            yield return string.Create(CultureInfo.InvariantCulture, $"--max-running: {options.MaxRunning} is more than --max-step-tokens, {options.MaxStepTokens}; each running request takes a token of every step.");

        bool Read(params string[] names) => !names.Any(unread.Contains);
    }

    private static string? KeysFault(string file)
    {
        try
        {
            KeyFile.Parse(file, KeyFile.ReadBytes(file));
            return null;
        }
        catch (KeyFileException fault)
        {
            return fault.Message;
        }
    }

    private static string? CertificateFault(GatewayOptions options)
    {
        try
        {
            _ = new ServerCertificate(options.ServerCert, options.ServerKey, options.ClientCa, TimeProvider.System);
            return null;
        }
        catch (CertificateException fault)
        {
            return fault.Message;
        }
    }

    private static string? TlsFault(string folder)
    {
        try
        {
            GroupCertificate.Read(folder);
            return null;
        }
        catch (LinkException fault)
        {
            return fault.Message;
        }
    }

    private static string? FileFault(string path)
    {
        if (RegularFile.Fault(path) is { } irregular)
            return $"{irregular}; a regular file is needed.";
        try
        {
            using FileStream file = File.OpenRead(path);
            return file.Length == 0 ? "is empty."
                : file.Length > MostSecretBytes ? string.Create(CultureInfo.InvariantCulture, $"has {file.Length} bytes; a secret has at most {MostSecretBytes}.")
                : null;
        }
        catch (Exception fault) when (fault is FileNotFoundException or DirectoryNotFoundException)
        {
            return "does not exist.";
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            return $"cannot be read: {fault.Message}";
        }
    }
}
