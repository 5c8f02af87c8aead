using NUnit.Framework;

namespace TpServe.Testing;

/// <summary>Where test files lie: the copy inside the repository, and the full golden set where TPSERVE_GOLDENS names it.</summary>
public static class TestData
{
    /// <summary>The root of the clone: the nearest folder above the test assembly that holds TpServe.sln.</summary>
    public static string Repository { get; } = FindRepository();

    /// <summary>The embedded default model.</summary>
    public static string SmolLm2 => Path.Combine(Repository, "models", "SmolLM2-135M-Instruct.Q4_1.gguf");

    /// <summary>tests/Data/<paramref name="relative"/>, laid out like the golden set.</summary>
    public static string Local(string relative) => Path.Combine(Repository, "tests", "Data", relative);

    /// <summary>The full golden set's folder, or null where TPSERVE_GOLDENS is not set.</summary>
    public static string? Goldens => Environment.GetEnvironmentVariable("TPSERVE_GOLDENS") is { Length: > 0 } folder ? folder : null;

    /// <summary>A golden file or folder: from the full set where there is one, else from tests/Data; null where neither has it.</summary>
    public static string? Find(string relative)
    {
        foreach (string? root in new[] { Goldens, Path.Combine(Repository, "tests", "Data") })
        {
            if (root is null)
                continue;
            string path = Path.Combine(root, relative);
            if (File.Exists(path) || Directory.Exists(path))
                return path;
        }
        return null;
    }

    /// <summary>As <see cref="Find"/>; where the file is in neither place the running test is marked inconclusive-by-design: ignored, with the reason.</summary>
    public static string FindOrIgnore(string relative)
    {
        string? path = Find(relative);
        if (path is null)
            Assert.Ignore($"'{relative}' is only in the full golden set; set TPSERVE_GOLDENS to its folder to run this.");
        return path!;
    }

    private static string FindRepository()
    {
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
            if (File.Exists(Path.Combine(folder.FullName, "TpServe.sln")))
                return folder.FullName;
        throw new InvalidOperationException("No folder above the test assembly holds TpServe.sln.");
    }
}
