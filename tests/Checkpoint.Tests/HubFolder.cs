using System.Text;
using System.Text.Json.Nodes;

namespace TpServe.Checkpoint.Tests;

/// <summary>A model folder in Hugging Face layout that a test fills, with the least that opens: one tensor, a tokenizer, a Llama's sizes.</summary>
internal sealed class HubFolder : IDisposable
{
    private const string LlamaSizes = """
        "hidden_size": 64, "num_hidden_layers": 4, "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 96, "vocab_size": 8
        """;

    private readonly ScratchFolder _scratch = new();

    public HubFolder()
    {
        Config("llama");
        Write("tokenizer.json", "{}");
        Write("model.safetensors", Safetensors(("model.norm.weight", "F32", [2], new byte[8])));
    }

    public string Path => _scratch.Path;

    /// <summary>config.json: a type, the sizes, then what the test adds or changes (the last of two equal keys counts).</summary>
    public HubFolder Config(string modelType, string more = "")
    {
        string extra = more.Length == 0 ? "" : $", {more}";
        Write("config.json", $$"""{ "model_type": "{{modelType}}", {{LlamaSizes}}{{extra}} }""");
        return this;
    }

    public HubFolder Write(string name, string text)
    {
        _scratch.Write(name, text);
        return this;
    }

    public HubFolder Write(string name, byte[] bytes)
    {
        _scratch.Write(name, bytes);
        return this;
    }

    public HubFolder Delete(string name)
    {
        File.Delete(System.IO.Path.Combine(Path, name));
        return this;
    }

    /// <summary>A well-formed file of these tensors.</summary>
    public static byte[] Safetensors(params (string Name, string Type, int[] Shape, byte[] Data)[] tensors)
    {
        JsonObject header = [];
        int offset = 0;
        foreach ((string name, string type, int[] shape, byte[] data) in tensors)
        {
            header[name] = new JsonObject
            {
                ["dtype"] = type,
                ["shape"] = new JsonArray([.. shape.Select(extent => (JsonNode)extent)]),
                ["data_offsets"] = new JsonArray(offset, offset += data.Length),
            };
        }
        return Safetensors(header.ToJsonString(), [.. tensors.SelectMany(t => t.Data)]);
    }

    /// <summary>A file of this header and this data.</summary>
    public static byte[] Safetensors(string header, byte[] data)
    {
        byte[] json = Encoding.UTF8.GetBytes(header);
        return [.. BitConverter.GetBytes((ulong)json.Length), .. json, .. data];
    }

    public void Dispose() => _scratch.Dispose();
}
