using CsCheck;
using NUnit.Framework;

namespace TpServe.Checkpoint.Tests;

/// <summary>Whatever the bytes are: a model, or a ModelLoadException, and nothing else.</summary>
public sealed class FuzzTests
{
    private const int Iterations = 400;

    [Test]
    public void Open_DamagedGgufHeader_ThrowsNothingElse()
    {
        GgufBuilder builder = GgufBuilder.Model()
            .Strings("tokenizer.ggml.merges", "a b", "b c").Floats("tokenizer.ggml.scores", 0, 1, 2, 3, 4, 5, 6, 7)
            .String("llama.rope.scaling.type", "yarn").Float32("llama.rope.scaling.factor", 2)
            .Array("general.nested", 9, 1, [.. BitConverter.GetBytes(4u), .. BitConverter.GetBytes(1UL), 1, 0, 0, 0])
            .Tensor("rope_freqs.weight", [8], 0, [.. Enumerable.Repeat(1f, 8).SelectMany(BitConverter.GetBytes)]);
        byte[] whole = builder.Build();
        int header = builder.Boundaries[^16]; // what follows is padding, two pieces for each of the seven tensors, and the trailing bytes
        using ScratchFolder scratch = new();
        Check(whole, header, bytes => scratch.Write("model.gguf", bytes), Path.Combine(scratch.Path, "model.gguf"));
    }

    [Test]
    public void Open_DamagedSafetensorsHeader_ThrowsNothingElse()
    {
        using HubFolder folder = new();
        byte[] whole = HubFolder.Safetensors(("model.a", "BF16", [3, 2], new byte[12]), ("model.b", "F32", [1], new byte[4]));
        Check(whole, whole.Length - 16, bytes => folder.Write("model.safetensors", bytes), folder.Path);
    }

    [Test]
    public void Open_DamagedConfig_ThrowsNothingElse()
    {
        using HubFolder folder = new();
        folder.Config("gemma3_text", """
            "rope_scaling": { "rope_type": "yarn", "factor": 2, "original_max_position_embeddings": 64 }, "layer_types": ["full_attention", "sliding_attention", "full_attention", "full_attention"]
            """);
        byte[] whole = File.ReadAllBytes(Path.Combine(folder.Path, "config.json"));
        Check(whole, whole.Length, bytes => folder.Write("config.json", bytes), folder.Path);
    }

    // One to four bytes of the header changed, in half the cases by one bit only.
    private static void Check(byte[] whole, int header, Action<byte[]> write, string path)
    {
        write(whole);
        ModelCheckpoints.Open(path).Dispose(); // undamaged, it opens
        Gen<(int, byte, bool)[]> damage = Gen.Select(Gen.Int[0, header - 1], Gen.Byte, Gen.Bool).Array[1, 4];
        damage.Sample(
            changes =>
            {
                byte[] bytes = [.. whole];
                foreach ((int at, byte value, bool bit) in changes)
                    bytes[at] ^= bit ? (byte)(1 << (value & 7)) : value;
                write(bytes);
                try
                {
                    using ModelCheckpoint checkpoint = ModelCheckpoints.Open(path);
                    foreach (TensorInfo tensor in checkpoint.Tensors.Values)
                        checkpoint.Bytes(tensor);
                }
                catch (ModelLoadException fault)
                {
                    Assert.That(fault.Message, Does.Contain(Path.GetFileName(path)));
                }
            },
            iter: Iterations,
            threads: 1);
    }
}
