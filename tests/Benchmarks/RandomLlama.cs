using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using TpServe.Checkpoint;

namespace TpServe.Benchmarks;

/// <summary>Writes a GGUF file of the Llama architecture, or of Qwen 3 with experts, with random weights: the shape of a model without its licence or download.</summary>
/// <remarks>
/// Blocks are well formed and their scales small, so that activations stay finite through all layers. The tokenizer is the embedded model's, padded with
/// unused entries to the vocabulary asked for.
/// Source   GGUF specification, version 3.
/// </remarks>
internal static class RandomLlama
{
    private const int Alignment = 32;

    /// <summary>Sizes of a model.</summary>
    public sealed record Shape(string Name, int Layers, int Hidden, int Heads, int KvHeads, int Intermediate, int Vocab)
    {
        /// <summary>SmolLM2 135M.</summary>
        public static Shape SmolLM2 { get; } = new("smollm2-135m", 30, 576, 9, 3, 1536, 49152);

        /// <summary>Llama 3.2 1B.</summary>
        public static Shape Llama1B { get; } = new("llama-1b", 16, 2048, 32, 8, 8192, 128256);

        /// <summary>Layers from here on add a thousandth of what the others add: a model of the first ones alone says nearly the same. 0 = all are alike.</summary>
        public int Living { get; init; }

        /// <summary>Of the weights; files of equal seeds have equal layers.</summary>
        public int Seed { get; init; } = 20261124;

        /// <summary>Elements of a head.</summary>
        public int HeadDim { get; init; } = Hidden / Heads;

        /// <summary>Experts of each layer, of <see cref="Intermediate"/> columns; 0 = a dense Llama, else a Qwen 3 with experts.</summary>
        public int Experts { get; init; }

        /// <summary>Experts a token goes through.</summary>
        public int PerToken { get; init; }

        /// <summary>Four layers of Qwen3 30B A3B; the vocabulary is the embedded model's.</summary>
        public static Shape QwenMoe { get; } = new("qwen3-moe", 4, 2048, 32, 4, 768, 49152) { HeadDim = 128, Experts = 128, PerToken = 8 };

        /// <summary>Llama 3.2 3B: heads of 128.</summary>
        public static Shape Llama3B { get; } = new("llama-3b", 28, 3072, 24, 8, 8192, 128256);
    }

    /// <summary>Writes the file, unless one of the same name is there.</summary>
    /// <param name="path">Where.</param>
    /// <param name="shape">Sizes.</param>
    /// <param name="type">Q8_0, Q4_0, Q4_1, Q4_K or BF16: every matrix; beside Q4_K the embedding, which is the head too, has Q6_K.</param>
    /// <param name="tokenizerFrom">The model whose tokenizer is copied.</param>
    public static void Write(string path, Shape shape, TensorType type, string tokenizerFrom)
    {
        if (File.Exists(path))
            return;
        Console.Error.WriteLine($"writing {Path.GetFileName(path)}");
        GgufVocabulary vocabulary;
        using (ModelCheckpoint source = ModelCheckpoints.Open(tokenizerFrom))
            vocabulary = source.Tokenizer.Vocabulary!;
        string unfinished = path + ".part";
        using (BinaryWriter writer = new(File.Create(unfinished)))
            Write(writer, shape, type, vocabulary);
        File.Move(unfinished, path);
    }

    private static void Write(BinaryWriter writer, Shape shape, TensorType type, GgufVocabulary vocabulary)
    {
        List<(string Name, int[] Dimensions, TensorType Type)> tensors = Tensors(shape, type);
        MetadataWriter metadata = new();
        string architecture = shape.Experts > 0 ? "qwen3moe" : "llama";
        metadata.Add("general.architecture", architecture);
        metadata.Add("general.name", shape.Name);
        if (shape.Experts > 0)
        {
            metadata.Add("qwen3moe.expert_count", (uint)shape.Experts);
            metadata.Add("qwen3moe.expert_used_count", (uint)shape.PerToken);
            metadata.Add("qwen3moe.expert_feed_forward_length", (uint)shape.Intermediate);
            metadata.Add("qwen3moe.attention.key_length", (uint)shape.HeadDim);
            metadata.Add("qwen3moe.attention.value_length", (uint)shape.HeadDim);
        }
        metadata.Add($"{architecture}.block_count", (uint)shape.Layers);
        metadata.Add($"{architecture}.context_length", 8192u);
        metadata.Add($"{architecture}.embedding_length", (uint)shape.Hidden);
        metadata.Add($"{architecture}.feed_forward_length", (uint)shape.Intermediate);
        metadata.Add($"{architecture}.attention.head_count", (uint)shape.Heads);
        metadata.Add($"{architecture}.attention.head_count_kv", (uint)shape.KvHeads);
        metadata.Add($"{architecture}.attention.layer_norm_rms_epsilon", 1e-5f);
        metadata.Add($"{architecture}.rope.freq_base", 500000f);
        metadata.Add($"{architecture}.rope.dimension_count", (uint)shape.HeadDim);
        metadata.Add($"{architecture}.vocab_size", (uint)shape.Vocab);
        metadata.Add("tokenizer.ggml.model", "gpt2");
        metadata.Add("tokenizer.ggml.pre", "smollm");
        metadata.Add("tokenizer.ggml.tokens", [.. vocabulary.Tokens, .. Enumerable.Range(0, shape.Vocab - vocabulary.Tokens.Count).Select(i => $"[unused{i}]")]);
        metadata.Add("tokenizer.ggml.token_type", [.. vocabulary.Types, .. Enumerable.Repeat(5, shape.Vocab - vocabulary.Tokens.Count)]);
        metadata.Add("tokenizer.ggml.merges", [.. vocabulary.Merges]);
        metadata.Add("tokenizer.ggml.bos_token_id", 1u);
        metadata.Add("tokenizer.ggml.eos_token_id", 2u);

        writer.Write("GGUF"u8);
        writer.Write(3u);
        writer.Write((ulong)tensors.Count);
        writer.Write((ulong)metadata.Count);
        writer.Write(metadata.ToArray());
        long offset = 0;
        foreach ((string name, int[] dimensions, TensorType stored) in tensors)
        {
            MetadataWriter.WriteText(writer, name);
            writer.Write((uint)dimensions.Length);
            foreach (int dimension in dimensions)
                writer.Write((ulong)dimension);
            writer.Write((uint)stored);
            writer.Write((ulong)offset);
            offset += Aligned(Bytes(dimensions, stored));
        }
        Pad(writer);
        Random random = new(shape.Seed);
        foreach ((string name, int[] dimensions, TensorType stored) in tensors)
        {
            if (stored == TensorType.F32 && dimensions.Length > 1)
                WriteRouter(writer, dimensions, random);
            else
                WriteWeights(writer, stored, Bytes(dimensions, stored), dimensions[0], random, Damps(shape, name) ? 1e-3 : 1);
            Pad(writer);
        }
    }

    /// <summary>What a layer adds to the stream comes out of these two.</summary>
    private static bool Damps(Shape shape, string tensor) =>
        shape.Living > 0 && tensor.Split('.') is ["blk", string layer, "attn_output" or "ffn_down", _] && int.Parse(layer, CultureInfo.InvariantCulture) >= shape.Living;

    private static List<(string, int[], TensorType)> Tensors(Shape shape, TensorType type)
    {
        int queries = shape.HeadDim * shape.Heads, kv = shape.HeadDim * shape.KvHeads;
        List<(string, int[], TensorType)> tensors = [("token_embd.weight", [shape.Hidden, shape.Vocab], type == TensorType.Q4_K ? TensorType.Q6_K : type), ("output_norm.weight", [shape.Hidden], TensorType.F32)];
        for (int layer = 0; layer < shape.Layers; layer++)
        {
            string block = $"blk.{layer}.";
            tensors.AddRange(
            [
                (block + "attn_norm.weight", [shape.Hidden], TensorType.F32),
                (block + "attn_q.weight", [shape.Hidden, queries], type),
                (block + "attn_k.weight", [shape.Hidden, kv], type),
                (block + "attn_v.weight", [shape.Hidden, kv], type),
                (block + "attn_output.weight", [queries, shape.Hidden], type),
                (block + "ffn_norm.weight", [shape.Hidden], TensorType.F32),
            ]);
            tensors.AddRange(shape.Experts == 0
                ?
                [
                    (block + "ffn_gate.weight", [shape.Hidden, shape.Intermediate], type),
                    (block + "ffn_up.weight", [shape.Hidden, shape.Intermediate], type),
                    (block + "ffn_down.weight", [shape.Intermediate, shape.Hidden], type),
                ]
                :
                [
                    (block + "attn_q_norm.weight", [shape.HeadDim], TensorType.F32),
                    (block + "attn_k_norm.weight", [shape.HeadDim], TensorType.F32),
                    (block + "ffn_gate_inp.weight", [shape.Hidden, shape.Experts], TensorType.F32),
                    (block + "ffn_gate_exps.weight", [shape.Hidden, shape.Intermediate, shape.Experts], type),
                    (block + "ffn_up_exps.weight", [shape.Hidden, shape.Intermediate, shape.Experts], type),
                    (block + "ffn_down_exps.weight", [shape.Intermediate, shape.Hidden, shape.Experts], type),
                ]);
        }
        return tensors;
    }

    private static void WriteRouter(BinaryWriter writer, int[] dimensions, Random random)
    {
        for (long i = 0; i < Bytes(dimensions, TensorType.F32) / sizeof(float); i++)
            writer.Write((random.NextSingle() - 0.5f) * 4f / MathF.Sqrt(dimensions[0]));
    }

    private static void WriteWeights(BinaryWriter writer, TensorType type, long bytes, int columns, Random random, double factor)
    {
        if (type == TensorType.F32)
        {
            for (long i = 0; i < bytes / 4; i++)
                writer.Write(1f);
            return;
        }
        int blockBytes = type.BlockBytes();
        byte[] chunk = new byte[blockBytes * 4096];
        // Values spread over ±1/√columns, so that a product of normed inputs stays near one.
        double spread = factor / Math.Sqrt(columns);
        for (long left = bytes; left > 0; left -= chunk.Length)
        {
            Span<byte> part = chunk.AsSpan(0, (int)Math.Min(left, chunk.Length));
            random.NextBytes(part);
            for (int start = 0; start < part.Length; start += blockBytes)
                Scale(part.Slice(start, blockBytes), type, spread, type == TensorType.BF16 ? spread : spread * (0.75 + 0.5 * random.NextDouble()));
            writer.Write(part);
        }
    }

    /// <summary>Makes a block of random bytes one whose values spread over ± <paramref name="scale"/>; beside one another they differ a little from <paramref name="spread"/>.</summary>
    private static void Scale(Span<byte> block, TensorType type, double spread, double scale)
    {
        switch (type)
        {
            case TensorType.Q8_0:
                MemoryMarshal.Write(block, (Half)(scale / 127));
                break;
            case TensorType.Q4_0:
                MemoryMarshal.Write(block, (Half)(scale / 8));
                break;
            case TensorType.Q4_1: // the minimum makes the mean zero
                MemoryMarshal.Write(block, (Half)(scale / 8));
                MemoryMarshal.Write(block[2..], (Half)(-7.5 * scale / 8));
                break;
            case TensorType.Q4_K: // d, dmin, 12 bytes of six-bit scales and minima, of which the low four bits stay: below 16
                MemoryMarshal.Write(block, (Half)(scale / 64));
                MemoryMarshal.Write(block[2..], (Half)(7.5 * scale / 64));
                for (int i = 4; i < 12; i++)
                    block[i] &= 15;
                break;
            case TensorType.Q6_K: // 16 signed scales, then d
                for (int i = 192; i < 208; i++)
                    block[i] = (byte)((sbyte)block[i] >> 3);
                MemoryMarshal.Write(block[208..], (Half)(scale / 256));
                break;
            case TensorType.BF16: // random sign and mantissa under one exponent
                int exponent = 127 + (int)Math.Floor(Math.Log2(spread)) - 1;
                ushort value = MemoryMarshal.Read<ushort>(block);
                MemoryMarshal.Write(block, (ushort)((value & 0x807F) | (exponent << 7)));
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), type, "no random blocks of this type");
        }
    }

    private static long Bytes(int[] dimensions, TensorType type) =>
        dimensions.Aggregate(1L, (product, dimension) => product * dimension) / type.BlockElements() * type.BlockBytes();

    private static long Aligned(long bytes) => (bytes + Alignment - 1) / Alignment * Alignment;

    private static void Pad(BinaryWriter writer)
    {
        while (writer.BaseStream.Position % Alignment != 0)
            writer.Write((byte)0);
    }

    /// <summary>Key-value pairs of a GGUF header.</summary>
    private sealed class MetadataWriter
    {
        private readonly MemoryStream _bytes = new();
        private readonly BinaryWriter _writer;

        public MetadataWriter() => _writer = new BinaryWriter(_bytes);

        public int Count { get; private set; }

        public static void WriteText(BinaryWriter writer, string text)
        {
            byte[] utf8 = Encoding.UTF8.GetBytes(text);
            writer.Write((ulong)utf8.Length);
            writer.Write(utf8);
        }

        public byte[] ToArray() => _bytes.ToArray();

        public void Add(string key, uint value)
        {
            Key(key, 4);
            _writer.Write(value);
        }

        public void Add(string key, float value)
        {
            Key(key, 6);
            _writer.Write(value);
        }

        public void Add(string key, string value)
        {
            Key(key, 8);
            WriteText(_writer, value);
        }

        public void Add(string key, string[] values)
        {
            Key(key, 9);
            _writer.Write(8u);
            _writer.Write((ulong)values.Length);
            foreach (string value in values)
                WriteText(_writer, value);
        }

        public void Add(string key, int[] values)
        {
            Key(key, 9);
            _writer.Write(5u);
            _writer.Write((ulong)values.Length);
            foreach (int value in values)
                _writer.Write(value);
        }

        private void Key(string key, uint type)
        {
            Count++;
            WriteText(_writer, key);
            _writer.Write(type);
        }
    }
}
