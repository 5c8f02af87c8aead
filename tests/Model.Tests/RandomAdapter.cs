using System.Globalization;
using System.Runtime.InteropServices;
using System.Text;
using TpServe.Checkpoint.Config;
using TpServe.Testing;

namespace TpServe.Model.Tests;

/// <summary>Writes PEFT folders of random numbers on all linear layers of a dense model.</summary>
internal static class RandomAdapter
{
    /// <summary>A fresh folder, the caller's to delete.</summary>
    public static string Write(ModelConfig config, int rank)
    {
        string folder = Directory.CreateTempSubdirectory("tpserve-lora-").FullName;
        int queries = config.Heads * config.HeadDim, keys = config.KvHeads * config.HeadDim;
        (string Name, int In, int Out)[] modules =
        [
            ("self_attn.q_proj", config.Hidden, queries), ("self_attn.k_proj", config.Hidden, keys), ("self_attn.v_proj", config.Hidden, keys), ("self_attn.o_proj", queries, config.Hidden),
            ("mlp.gate_proj", config.Hidden, config.Intermediate), ("mlp.up_proj", config.Hidden, config.Intermediate), ("mlp.down_proj", config.Intermediate, config.Hidden),
        ];
        StringBuilder header = new("{");
        using MemoryStream data = new();
        for (int layer = 0; layer < config.Layers; layer++)
            foreach ((string name, int inputs, int outputs) in modules)
            {
                Add($"base_model.model.model.layers.{layer}.{name}.lora_A.weight", rank, inputs);
                Add($"base_model.model.model.layers.{layer}.{name}.lora_B.weight", outputs, rank);
            }
        byte[] json = Encoding.UTF8.GetBytes(header.ToString().TrimEnd(',') + "}");
        using FileStream file = File.Create(Path.Combine(folder, "adapter_model.safetensors"));
        file.Write(BitConverter.GetBytes((long)json.Length));
        file.Write(json);
        data.WriteTo(file);
        File.WriteAllText(Path.Combine(folder, "adapter_config.json"), $$"""{"peft_type": "LORA", "r": {{rank}}, "lora_alpha": {{rank}}, "target_modules": "all-linear", "bias": "none"}""");
        return folder;

        void Add(string name, int rows, int columns)
        {
            long start = data.Length;
            float[] values = Numbers.Uniform(rows * columns, seed: header.Length);
            for (int i = 0; i < values.Length; i++)
                values[i] *= 0.1f;
            data.Write(MemoryMarshal.AsBytes(values.AsSpan()));
            header.Append(CultureInfo.InvariantCulture, $"\"{name}\":{{\"dtype\":\"F32\",\"shape\":[{rows},{columns}],\"data_offsets\":[{start},{data.Length}]}},");
        }
    }
}
