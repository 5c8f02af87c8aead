using System.Buffers.Binary;
using System.Text;

namespace TpServe.Checkpoint.Tests;

/// <summary>Writes GGUF files byte by byte, right ones and wrong ones.</summary>
internal sealed class GgufBuilder
{
    private readonly List<(string Key, byte[] TypeAndValue)> _keys = [];
    private readonly List<(string Name, ulong[] Dims, uint Type, byte[] Data)> _tensors = [];

    public uint Magic { get; set; } = 0x46554747;

    public uint Version { get; set; } = 3;

    public ulong? TensorCount { get; set; }

    public ulong? KeyCount { get; set; }

    public int Alignment { get; set; } = 32;

    /// <summary>Offsets to write instead of the right ones, by tensor.</summary>
    public Dictionary<string, ulong> Offsets { get; } = [];

    /// <summary>Bytes after the last tensor.</summary>
    public int Trailing { get; set; }

    /// <summary>Where something begins in the file last built: counts, keys, types, values, names, dimensions, offsets, data.</summary>
    public List<int> Boundaries { get; } = [];

    /// <summary>A complete model of one layer: hidden 64, 4 heads, 2 key-value heads, MLP 96, vocabulary 8, all F32.</summary>
    public static GgufBuilder Model(string architecture = "llama")
    {
        GgufBuilder builder = new GgufBuilder()
            .String("general.architecture", architecture)
            .UInt32($"{architecture}.block_count", 1)
            .UInt32($"{architecture}.context_length", 128)
            .UInt32($"{architecture}.embedding_length", 64)
            .UInt32($"{architecture}.feed_forward_length", 96)
            .UInt32($"{architecture}.attention.head_count", 4)
            .UInt32($"{architecture}.attention.head_count_kv", 2)
            .Float32($"{architecture}.attention.layer_norm_rms_epsilon", 1e-5f)
            .String("tokenizer.ggml.model", "gpt2")
            .Strings("tokenizer.ggml.tokens", "a", "b", "c", "d", "e", "f", "<s>", "</s>")
            .UInt32("tokenizer.ggml.bos_token_id", 6)
            .UInt32("tokenizer.ggml.eos_token_id", 7);
        return builder
            .Tensor("token_embd.weight", [64, 8])
            .Tensor("blk.0.attn_q.weight", [64, 64])
            .Tensor("blk.0.attn_k.weight", [64, 32])
            .Tensor("blk.0.attn_v.weight", [64, 32])
            .Tensor("blk.0.attn_norm.weight", [64])
            .Tensor("output_norm.weight", [64]);
    }

    public GgufBuilder UInt32(string key, uint value) => Raw(key, 4, BitConverter.GetBytes(value));

    public GgufBuilder UInt64(string key, ulong value) => Raw(key, 10, BitConverter.GetBytes(value));

    public GgufBuilder Int32(string key, int value) => Raw(key, 5, BitConverter.GetBytes(value));

    public GgufBuilder Float32(string key, float value) => Raw(key, 6, BitConverter.GetBytes(value));

    public GgufBuilder Bool(string key, bool value) => Raw(key, 7, [value ? (byte)1 : (byte)0]);

    public GgufBuilder String(string key, string value) => Raw(key, 8, Text(value));

    public GgufBuilder Strings(string key, params string[] values) => Array(key, 8, values.Length, [.. values.SelectMany(Text)]);

    public GgufBuilder Int32s(string key, params int[] values) => Array(key, 5, values.Length, [.. values.SelectMany(BitConverter.GetBytes)]);

    public GgufBuilder Bools(string key, params bool[] values) => Array(key, 7, values.Length, [.. values.Select(v => v ? (byte)1 : (byte)0)]);

    public GgufBuilder Floats(string key, params float[] values) => Array(key, 6, values.Length, [.. values.SelectMany(BitConverter.GetBytes)]);

    public GgufBuilder Array(string key, uint element, long count, byte[] elements) =>
        Raw(key, 9, [.. BitConverter.GetBytes(element), .. BitConverter.GetBytes(count), .. elements]);

    /// <summary>A pair whose value is given as it lies in the file; a key that is there already is replaced.</summary>
    public GgufBuilder Raw(string key, uint type, byte[] value)
    {
        _keys.RemoveAll(k => k.Key == key);
        _keys.Add((key, [.. BitConverter.GetBytes(type), .. value]));
        return this;
    }

    /// <summary>A pair beside one with the same key.</summary>
    public GgufBuilder Again(string key)
    {
        _keys.Add(_keys.First(k => k.Key == key));
        return this;
    }

    public GgufBuilder Without(string key)
    {
        _keys.RemoveAll(k => k.Key == key);
        return this;
    }

    /// <summary>A tensor; dims innermost first as GGUF has them. F32 where no type and data are given.</summary>
    public GgufBuilder Tensor(string name, ulong[] dims, uint type = 0, byte[]? data = null)
    {
        if (data is null)
        {
            float[] values = TpServe.Testing.Numbers.Uniform((int)dims.Aggregate(1UL, (a, b) => a * b), seed: _tensors.Count);
            data = [.. values.SelectMany(BitConverter.GetBytes)];
        }
        _tensors.Add((name, dims, type, data));
        return this;
    }

    public GgufBuilder WithoutTensors()
    {
        _tensors.Clear();
        return this;
    }

    public byte[] Build()
    {
        Boundaries.Clear();
        using MemoryStream file = new();
        Put(BitConverter.GetBytes(Magic));
        Put(BitConverter.GetBytes(Version));
        Put(BitConverter.GetBytes(TensorCount ?? (ulong)_tensors.Count));
        Put(BitConverter.GetBytes(KeyCount ?? (ulong)_keys.Count));
        foreach ((string key, byte[] typeAndValue) in _keys)
        {
            Put(Text(key));
            Put(typeAndValue[..4]);
            Put(typeAndValue[4..]);
        }
        ulong offset = 0;
        foreach ((string name, ulong[] dims, uint type, byte[] data) in _tensors)
        {
            Put(Text(name));
            Put(BitConverter.GetBytes(dims.Length));
            foreach (ulong dim in dims)
                Put(BitConverter.GetBytes(dim));
            Put(BitConverter.GetBytes(type));
            Put(BitConverter.GetBytes(Offsets.GetValueOrDefault(name, offset)));
            offset += (ulong)Padded(data.Length);
        }
        Put(new byte[Padded((int)file.Length) - (int)file.Length]);
        foreach ((_, _, _, byte[] data) in _tensors)
        {
            Put(data);
            Put(new byte[Padded(data.Length) - data.Length]);
        }
        Put(new byte[Trailing]);
        return file.ToArray();

        void Put(byte[] bytes)
        {
            Boundaries.Add((int)file.Length);
            file.Write(bytes);
        }
    }

    private int Padded(int length) => (length + Alignment - 1) / Alignment * Alignment;

    private static byte[] Text(string text)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(text), length = new byte[8];
        BinaryPrimitives.WriteInt64LittleEndian(length, bytes.Length);
        return [.. length, .. bytes];
    }
}
