using System.Text.RegularExpressions;
using TpServe.Gateway.Settings;
using TpServe.Worker;

namespace TpServe.Deploy.Tests;

/// <summary>Which environment variables mean something, and to whom.</summary>
internal static partial class KnownSettings
{
    /// <summary>Read by the runtime, the driver or the cluster, not by TpServe.</summary>
    private static readonly Dictionary<string, string> s_others = new()
    {
        ["HOME"] = "libraries' default place for files",
        ["ASPNETCORE_HTTP_PORTS"] = "set by the base image; void here",
        ["DOTNET_EnableDiagnostics"] = ".NET: the diagnostics socket",
        ["NVIDIA_VISIBLE_DEVICES"] = "NVIDIA container toolkit",
        ["NVIDIA_DRIVER_CAPABILITIES"] = "NVIDIA container toolkit",
        ["CUDA_CACHE_PATH"] = "CUDA driver: compiled kernels",
        ["XDG_CACHE_HOME"] = "the XDG base directories: the folder of caches, in whose tpserve the times of measured workers are kept",
        ["HF_HOME"] = "Hugging Face's programs: the folder of their cache, in which models by name lie",
        ["HF_TOKEN"] = "the hub: who asks for a gated model",
        ["HF_HUB_OFFLINE"] = "Hugging Face's programs: only the cache",
        ["POD_NAME"] = "filled in by Kubernetes, used in other values",
    };

    /// <summary>Null where the variable is known, else what is wrong with it.</summary>
    public static string? Fault(string variable)
    {
        if (s_others.ContainsKey(variable))
            return null;
        if (WorkerSettings.Table.Any(setting => variable == setting.Variable || variable == setting.Alias))
            return null;
        string name = ListItem().Replace(variable, "");
        if (SettingsTable.All.FirstOrDefault(setting => name == setting.LongVariable || name == setting.Variable) is not { } setting)
            return $"environment variable {variable} is no setting";
        return setting.IsList == (name != variable) ? null : $"environment variable {variable}: {setting.Name} is {(setting.IsList ? "a list" : "no list")}";
    }

    /// <summary>Settings of the gateway or the worker that a text names.</summary>
    public static IEnumerable<string> NamedIn(string text) => Setting().Matches(text).Select(match => match.Value);

    [GeneratedRegex("__[0-9]+$")]
    private static partial Regex ListItem();

    [GeneratedRegex(@"\b(Gateway|Worker)__[A-Za-z0-9_]+")]
    private static partial Regex Setting();
}
