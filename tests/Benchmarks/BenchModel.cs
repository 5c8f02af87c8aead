using TpServe.Checkpoint;

namespace TpServe.Benchmarks;

/// <summary>A model that benchmarks run: the tracked SmolLM2, or a file of random weights in the shape of a larger one.</summary>
/// <param name="Name">For people, and what words select by.</param>
/// <param name="Shape">Sizes.</param>
/// <param name="Format">Of its matrices. With Q4_K, embedding and head are Q6_K, as llama.cpp's Q4_K_M has them.</param>
internal sealed record BenchModel(string Name, RandomLlama.Shape Shape, TensorType Format)
{
    /// <summary>What is compared where nothing is selected.</summary>
    public static IReadOnlyList<BenchModel> All { get; } =
    [
        new("smollm2-135m q4_1", RandomLlama.Shape.SmolLM2, TensorType.Q4_1),
        new("llama-1b q8_0", RandomLlama.Shape.Llama1B, TensorType.Q8_0),
        new("llama-1b q4_0", RandomLlama.Shape.Llama1B, TensorType.Q4_0),
        new("llama-1b q4_1", RandomLlama.Shape.Llama1B, TensorType.Q4_1),
        new("llama-1b q4_k", RandomLlama.Shape.Llama1B, TensorType.Q4_K),
        new("llama-1b bf16", RandomLlama.Shape.Llama1B, TensorType.BF16),
        new("llama-3b q4_0", RandomLlama.Shape.Llama3B, TensorType.Q4_0),
        new("qwen3-moe q4_0", RandomLlama.Shape.QwenMoe, TensorType.Q4_0),
        new("qwen3-moe q4_k", RandomLlama.Shape.QwenMoe, TensorType.Q4_K),
    ];

    /// <summary>The shape of a word: smollm2, 1b, 3b, moe.</summary>
    public static RandomLlama.Shape? ShapeOf(string word) => word switch
    {
        "smollm2" => RandomLlama.Shape.SmolLM2,
        "1b" => RandomLlama.Shape.Llama1B,
        "3b" => RandomLlama.Shape.Llama3B,
        "moe" => RandomLlama.Shape.QwenMoe,
        _ => null,
    };

    /// <summary>The model's file, written where there is none.</summary>
    /// <param name="shape">Sizes.</param>
    /// <param name="format">Of the matrices.</param>
    /// <param name="workFolder">Where files of random weights stay.</param>
    /// <param name="smol">The tracked model, whose tokenizer the others have.</param>
    public static string Write(RandomLlama.Shape shape, TensorType format, string workFolder, string smol)
    {
        if (shape == RandomLlama.Shape.SmolLM2 && format == TensorType.Q4_1)
            return smol;
        Directory.CreateDirectory(workFolder);
        string file = Path.Combine(workFolder, $"{shape.Name}-{format}.gguf");
        RandomLlama.Write(file, shape, format, smol);
        return file;
    }
}
