using System.Collections;
using System.Text.RegularExpressions;
using TpServe.Gateway;
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
        ["POD_NAME"] = "filled in by Kubernetes, used in other values",
    };

    private static readonly Type[] s_options = [typeof(GatewayOptions), typeof(WorkerOptions)];

    /// <summary>Null where the variable is known, else what is wrong with it.</summary>
    public static string? Fault(string variable)
    {
        if (s_others.ContainsKey(variable))
            return null;
        string[] parts = variable.Split("__");
        Type? options = parts.Length is 2 or 3 ? s_options.FirstOrDefault(type => Section(type) == parts[0]) : null;
        if (options?.GetProperty(parts.ElementAtOrDefault(1) ?? "") is not { } setting || !setting.CanWrite)
            return $"environment variable {variable} is no setting";
        bool list = setting.PropertyType != typeof(string) && typeof(IEnumerable).IsAssignableFrom(setting.PropertyType);
        return list == (parts.Length == 3) ? null : $"environment variable {variable}: {parts[1]} is {(list ? "a list" : "no list")}";
    }

    /// <summary>Settings of the gateway or the worker that a text names.</summary>
    public static IEnumerable<string> NamedIn(string text) => Setting().Matches(text).Select(match => match.Value);

    private static string Section(Type options) => (string)options.GetField("Section")!.GetRawConstantValue()!;

    [GeneratedRegex(@"\b(Gateway|Worker)__[A-Za-z0-9_]+")]
    private static partial Regex Setting();
}
