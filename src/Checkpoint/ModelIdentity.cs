using System.Globalization;
using System.Security.Cryptography;

namespace TpServe.Checkpoint;

/// <summary>What tells a model's files from others that were put in their place: size, time, and hashes of the header and of pages spread over each file.</summary>
/// <remarks>
/// Reads about 1 MiB of each file, whatever its size: enough to tell another model or another training of one, not a single weight that was patched. The time
/// tells that too, on one host; <see cref="Content"/> leaves it out and so is the same wherever the same files lie.
/// </remarks>
public sealed class ModelIdentity : IEquatable<ModelIdentity>
{
    private const int HeaderBytes = 1 << 20;
    private const int SampledPages = 16;
    private const int PageBytes = 4096;

    private readonly string _withTimes;

    private ModelIdentity(string content, string withTimes)
    {
        Content = content;
        _withTimes = withTimes;
    }

    /// <summary>Names, sizes and hashes, for people and for comparing between hosts.</summary>
    public string Content { get; }

    /// <summary>Looks at a .gguf file, all parts of a split one, or at the configuration and the weights of a folder.</summary>
    /// <exception cref="ModelLoadException">The path, or a file of it, is not there or cannot be read.</exception>
    public static ModelIdentity Of(string path)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        string[] files = Directory.Exists(path)
            ? [.. Directory.EnumerateFiles(path).Where(IsPartOfModel).Order(StringComparer.Ordinal)]
            : [.. Gguf.GgufCheckpoint.PartsOf(path)];
        if (files.Length == 0 || !(File.Exists(path) || Directory.Exists(path)))
            throw new ModelLoadException($"{path}: there is no such file, or no model in this folder.");
        List<string> contents = [], withTimes = [];
        foreach (string file in files)
        {
            RegularFile.Require(file);
            try
            {
                string content = Describe(file);
                contents.Add(content);
                withTimes.Add(string.Create(CultureInfo.InvariantCulture, $"{content}, written {File.GetLastWriteTimeUtc(file):yyyy-MM-dd HH:mm:ss.fffffff}Z"));
            }
            catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
            {
                throw new ModelLoadException($"{file}: cannot be read: {fault.Message}");
            }
        }
        return new ModelIdentity(string.Join("; ", contents), string.Join("; ", withTimes));
    }

    /// <inheritdoc/>
    public bool Equals(ModelIdentity? other) => other is not null && other._withTimes == _withTimes;

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as ModelIdentity);

    /// <inheritdoc/>
    public override int GetHashCode() => _withTimes.GetHashCode(StringComparison.Ordinal);

    /// <summary>With the times.</summary>
    public override string ToString() => _withTimes;

    private static bool IsPartOfModel(string file) =>
        Path.GetFileName(file) is "config.json" or "model.safetensors.index.json" || Path.GetExtension(file).Equals(".safetensors", StringComparison.OrdinalIgnoreCase);

    private static string Describe(string file)
    {
        using FileStream stream = new(file, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
        long length = stream.Length;
        byte[] buffer = new byte[HeaderBytes];
        int header = stream.ReadAtLeast(buffer, HeaderBytes, throwOnEndOfStream: false);
        byte[] headerHash = SHA256.HashData(buffer.AsSpan(0, header));

        using IncrementalHash pages = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        for (int page = 0; page < SampledPages; page++)
        {
            // The last page ends with the file; the others lie at equal distances before it.
            stream.Position = Math.Max(0, length - PageBytes) * page / (SampledPages - 1);
            int read = stream.ReadAtLeast(buffer.AsSpan(0, PageBytes), PageBytes, throwOnEndOfStream: false);
            pages.AppendData(buffer, 0, read);
        }
        return string.Create(CultureInfo.InvariantCulture, $"{Path.GetFileName(file)} of {length} bytes, header {Hex(headerHash)}, pages {Hex(pages.GetHashAndReset())}");
    }

    /// <summary>The first 64 bits: what a person compares, and more than chance meets.</summary>
    private static string Hex(byte[] hash) => Convert.ToHexStringLower(hash.AsSpan(0, 8));
}
