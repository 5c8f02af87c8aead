namespace TpServe.Checkpoint.Config;

/// <summary>The architectures whose facts the readers know in full. The model room implements each of them.</summary>
public static class KnownArchitectures
{
    /// <summary>Names as in <see cref="ModelConfig.Architecture"/>, sorted.</summary>
    public static IReadOnlyList<string> All { get; } = ["gemma2", "gemma3", "granite", "llama", "mistral", "olmo2", "phi3", "qwen2", "qwen3", "smollm3"];

    /// <summary>Refuses an architecture that is not known.</summary>
    /// <exception cref="ModelLoadException">Names it and lists those there are.</exception>
    public static void Require(string architecture)
    {
        if (!All.Contains(architecture))
            throw new ModelLoadException($"architecture '{architecture}' is not supported; supported are: {string.Join(", ", All)}.");
    }
}
