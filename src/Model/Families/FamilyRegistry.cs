using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;

namespace TpServe.Model.Families;

/// <summary>All families, by architecture. A new one is one file beside this and one entry here.</summary>
public static class FamilyRegistry
{
    private static readonly FamilySpec[] Families =
    [
        Llama.Spec, Mistral.Spec, Qwen2.Spec, Qwen3.Spec, SmolLm3.Spec, Olmo2.Spec, Granite.Spec, Phi3.Spec, Gemma2.Spec, Gemma3.Spec,
    ];

    /// <summary>Every architecture TpServe implements, sorted.</summary>
    public static IReadOnlyList<string> Architectures { get; } =
        [.. Families.SelectMany(family => family.Architectures).Order(StringComparer.Ordinal)];

    /// <summary>The family of an architecture.</summary>
    /// <exception cref="ModelLoadException">There is none; the message lists those there are.</exception>
    public static FamilySpec Find(string architecture)
    {
        KnownArchitectures.Require(architecture);
        return Families.First(family => family.Architectures.Contains(architecture));
    }
}
