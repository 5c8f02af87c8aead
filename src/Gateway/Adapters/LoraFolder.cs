using Grpc.Core;
using TpServe.Checkpoint.Adapters;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Adapters;

/// <summary>Where a running server may load adapters from: below one folder that the operator named, by real paths; without one from nowhere.</summary>
/// <remarks>Even an admin's key names files of the server's host only there: a key that leaks reads nothing else.</remarks>
internal static class LoraFolder
{
    private const int MostLinks = 40;

    /// <summary>The absolute path of an adapter's folder.</summary>
    /// <exception cref="RequestRejectedException">It is not below the operator's folder, or leads out of it by links.</exception>
    public static string Require(string operators, string path)
    {
        if (operators.Length == 0)
            throw new RequestRejectedException(
                StatusCode.PermissionDenied, "LORA_PATH_NOT_ALLOWED", "This server loads no adapters at run time: --lora-dir names the folder from which it may.", "lora_path");
        string full = Path.GetFullPath(path, Path.GetFullPath(operators));
        string root = Real(Path.GetFullPath(operators));
        foreach (string one in (string[])[full, .. AdapterCheckpoint.FilesOf(full)])
            if (!(Real(one) + Path.DirectorySeparatorChar).StartsWith(root.TrimEnd(Path.DirectorySeparatorChar) + Path.DirectorySeparatorChar, StringComparison.Ordinal))
                throw new RequestRejectedException(
                    StatusCode.PermissionDenied, "LORA_PATH_NOT_ALLOWED", "'lora_path' must lie in the folder of --lora-dir, links followed.", "lora_path");
        return full;
    }

    /// <summary>The path with every link on the way followed; what does not exist stays as it is.</summary>
    private static string Real(string path)
    {
        int links = 0;
        string real = Path.GetPathRoot(path)!;
        Stack<string> rest = new(path[real.Length..].Split(Path.DirectorySeparatorChar, StringSplitOptions.RemoveEmptyEntries).Reverse());
        while (rest.TryPop(out string? part))
        {
            string next = Path.Combine(real, part);
            if (new FileInfo(next).LinkTarget is not { } target)
            {
                real = next;
                continue;
            }
            if (++links > MostLinks)
                throw new RequestRejectedException(StatusCode.PermissionDenied, "LORA_PATH_NOT_ALLOWED", "'lora_path' is a circle of links.", "lora_path");
            string whole = Path.GetFullPath(target, real);
            real = Path.GetPathRoot(whole)!;
            foreach (string step in whole[real.Length..].Split(Path.DirectorySeparatorChar, StringSplitOptions.RemoveEmptyEntries).Reverse())
                rest.Push(step);
        }
        return real;
    }
}
