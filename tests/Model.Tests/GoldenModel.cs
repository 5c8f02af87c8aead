using System.Text.Json;
using System.Text.Json.Serialization;
using TpServe.Testing;

namespace TpServe.Model.Tests;

/// <summary>What another implementation computed for a model: an expected.json of the golden set.</summary>
internal sealed record GoldenModel
{
    private static readonly JsonSerializerOptions Options = new() { PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower };

    public required IReadOnlyList<GoldenCase> Cases { get; init; }

    /// <summary>How far the reference moves in bfloat16 (models/).</summary>
    [JsonPropertyName("bfloat16_noise")]
    public GoldenDistance? Bfloat16Noise { get; init; }

    /// <summary>How far llama.cpp is from the reference (quantised files).</summary>
    public GoldenDistance? LlamaCppYardstick { get; init; }

    public GoldenPassage? Passage { get; init; }

    public static GoldenModel Read(string path) => JsonSerializer.Deserialize<GoldenModel>(File.ReadAllText(path), Options)!;

    /// <summary>Names of the folders below models/ and files below gguf-models/ that this clone or the full golden set has.</summary>
    public static IEnumerable<string> Names(string folder, string pattern) =>
        new[] { TestData.Goldens, TestData.Local("") }
            .Where(root => root is not null && Directory.Exists(Path.Combine(root, folder)))
            .SelectMany(root => Directory.EnumerateFileSystemEntries(Path.Combine(root!, folder), pattern))
            .Select(path => Path.GetFileName(path)!)
            .Where(name => name != "README.md")
            .Distinct()
            .Order(StringComparer.Ordinal);
}

/// <summary>One prompt.</summary>
internal sealed record GoldenCase
{
    public required int[] PromptTokenIds { get; init; }
    public required float?[] PromptLogprobs { get; init; }
    public required int[][] TopIds { get; init; }
    public required float[][] TopLogprobs { get; init; }
    public float[] LastLogitsLogprobs { get; init; } = [];
    public required int[] GreedyTokenIds { get; init; }
    public required float[] GreedyLogprobs { get; init; }
    public required float[] GreedyGaps { get; init; }
}

/// <summary>A long text.</summary>
internal sealed record GoldenPassage
{
    public required int[] TokenIds { get; init; }
    public required float?[] Logprobs { get; init; }
    [JsonPropertyName("top1_ids")]
    public required int[] Top1Ids { get; init; }
    public required double Perplexity { get; init; }
}

/// <summary>A distance between two implementations.</summary>
internal sealed record GoldenDistance
{
    public required double MeanKl { get; init; }
    public double MaxAbsLogprobDifferenceInTop { get; init; }
    [JsonPropertyName("top1_agreement")]
    public double Top1Agreement { get; init; }
}
