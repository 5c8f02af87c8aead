using TpServe.Checkpoint.Gguf;
using TpServe.Checkpoint.Safetensors;

namespace TpServe.Checkpoint;

/// <summary>Opens model files of either kind.</summary>
public static class ModelCheckpoints
{
    /// <summary>Opens a .gguf file or a folder in Hugging Face layout; reads and checks everything but the weights.</summary>
    /// <exception cref="ModelLoadException">The path is neither, or something in its files is wrong.</exception>
    public static ModelCheckpoint Open(string path) => Open(path, withTokenizer: true);

    /// <summary>As above, but without the tokenizer's material, of which a worker needs nothing.</summary>
    /// <exception cref="ModelLoadException">The path is neither, or something in its files is wrong.</exception>
    public static ModelCheckpoint OpenWeights(string path) => Open(path, withTokenizer: false);

    private static ModelCheckpoint Open(string path, bool withTokenizer)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(path);
        if (Directory.Exists(path))
        {
            return File.Exists(Path.Combine(path, "config.json"))
                ? HubCheckpoint.Open(path, withTokenizer)
                : throw new ModelLoadException($"{path}: this folder has no config.json; expected a .gguf file or a folder with config.json and safetensors files.");
        }
        if (RegularFile.Fault(path) is { } fault)
            throw new ModelLoadException($"{path}: {fault}; expected a .gguf file or a folder with config.json and safetensors files.");
        if (!File.Exists(path))
            throw new ModelLoadException($"{path}: there is no such file or folder; expected a .gguf file or a folder with config.json and safetensors files.");
        return Path.GetExtension(path).Equals(".gguf", StringComparison.OrdinalIgnoreCase)
            ? GgufCheckpoint.Open(path, withTokenizer)
            : throw new ModelLoadException($"{path}: not a model TpServe reads; expected a .gguf file or a folder with config.json and safetensors files.");
    }
}
