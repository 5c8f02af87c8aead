using System.Diagnostics;

namespace TpServe.Deploy.Tests;

/// <summary>The tree that deploy/Dockerfile's build stage lays, made by the very instructions of that stage: COPY from the clone, then every RUN.</summary>
internal sealed class PublishedImage : IDisposable
{
    private static readonly TimeSpan s_buildTimeout = TimeSpan.FromMinutes(6);
    private readonly DirectoryInfo _scratch;

    private PublishedImage(DirectoryInfo scratch) => _scratch = scratch;

    /// <summary>/image of the build stage.</summary>
    public string Folder => Path.Combine(_scratch.FullName, "image");

    /// <summary>A folder beside it that holds nothing yet.</summary>
    public string CreateFolder(string name) => Directory.CreateDirectory(Path.Combine(_scratch.FullName, name)).FullName;

    /// <summary>Builds it. Only what the Dockerfile copies is there, so that a missing COPY fails.</summary>
    public static async Task<PublishedImage> BuildAsync(Dockerfile dockerfile)
    {
        PublishedImage image = new(Directory.CreateTempSubdirectory("tpserve-image-"));
        try
        {
            string source = image.CreateFolder("src");
            foreach ((string from, string to) in dockerfile.Copied("build"))
            {
                string path = DeployFiles.PathOf(from.TrimEnd('/'));
                if (Directory.Exists(path))
                    CopyFolder(path, Path.Combine(source, to.TrimEnd('/')));
                else
                    File.Copy(path, Path.Combine(source, Path.GetFileName(path)));
            }
            foreach (Dockerfile.Instruction run in dockerfile.Of("build", "RUN"))
                await RunAsync(run.Text.Replace("/image", image.Folder, StringComparison.Ordinal), source, dockerfile.Environment("build"));
            return image;
        }
        catch
        {
            image.Dispose();
            throw;
        }
    }

    public void Dispose() => _scratch.Delete(recursive: true);

    private static async Task RunAsync(string command, string folder, Dictionary<string, string> environment)
    {
        ProcessStartInfo start = new("sh") { WorkingDirectory = folder, RedirectStandardOutput = true, RedirectStandardError = true, ArgumentList = { "-c", command } };
        // Nothing of this test's own build and run reaches the inner one, and no build server outlives it.
        foreach (string name in start.Environment.Keys.Where(name => name.StartsWith("MSBuild", StringComparison.OrdinalIgnoreCase) || name is "DOTNET_HOST_PATH" or "VSTEST_HOST_DEBUG").ToArray())
            start.Environment.Remove(name);
        start.Environment["MSBUILDDISABLENODEREUSE"] = "1";
        start.Environment["UseSharedCompilation"] = "false";
        start.Environment["DOTNET_CLI_TELEMETRY_OPTOUT"] = "1";
        foreach ((string name, string value) in environment)
            start.Environment[name] = value;
        using Process process = Process.Start(start)!;
        using CancellationTokenSource deadline = new(s_buildTimeout);
        try
        {
            Task<string> errors = process.StandardError.ReadToEndAsync(deadline.Token);
            string output = await process.StandardOutput.ReadToEndAsync(deadline.Token);
            await process.WaitForExitAsync(deadline.Token);
            if (process.ExitCode != 0)
                throw new InvalidOperationException($"RUN {command} ended with {process.ExitCode}: {output} {await errors}");
        }
        finally
        {
            if (!process.HasExited)
                process.Kill(entireProcessTree: true);
        }
    }

    private static void CopyFolder(string from, string to)
    {
        Directory.CreateDirectory(to);
        foreach (string file in Directory.GetFiles(from))
            File.Copy(file, Path.Combine(to, Path.GetFileName(file)));
        foreach (string folder in Directory.GetDirectories(from))
            if (Path.GetFileName(folder) is not ("bin" or "obj")) // as .dockerignore has it
                CopyFolder(folder, Path.Combine(to, Path.GetFileName(folder)));
    }
}
