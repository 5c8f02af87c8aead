using System.Globalization;
using System.Text.RegularExpressions;
using TpServe.Checkpoint.Config;

namespace TpServe.Checkpoint.Safetensors;

/// <summary>Tensors of a folder that are not the model's as its configuration has it: a head beside a tied embedding, and what the reference leaves aside.</summary>
internal static partial class HubExtras
{
    private const string Embedding = "model.embed_tokens.weight", Head = "lm_head.weight";
    private const int ComparedBytes = 16 << 20;

    /// <summary>Leaves out tensors that follow from the configuration or that no layer of the reference reads; others stay, to be refused as unexpected.</summary>
    public static void Ignore(TensorTable table, ModelConfig config, List<string> warnings)
    {
        TensorInfo[] unused = [.. table.Tensors.Values.Where(tensor => IsBuffer(tensor.Name) || IsNextTokenLayer(tensor.Name, config.Layers, table))];
        if (unused.Length == 0)
            return;
        foreach (TensorInfo tensor in unused)
            table.Ignore(tensor);
        string names = string.Join(", ", unused.Take(3).Select(tensor => $"'{tensor.FileName}'"));
        warnings.Add(string.Create(CultureInfo.InvariantCulture, $"{unused.Length} tensors are not used, as in the reference: {names}{(unused.Length > 3 ? ", …" : "")}."));
    }

    /// <summary>The configuration with its head as the files have it: where it is said to be the embedding and another lies there, that one counts, as in transformers 5.</summary>
    public static ModelConfig WithHead(TensorTable table, ModelConfig config, List<string> warnings)
    {
        if (!config.TieEmbeddings || !table.Tensors.TryGetValue(Head, out TensorInfo? head))
            return config;
        if (!table.Tensors.TryGetValue(Embedding, out TensorInfo? embedding))
        {
            table.Rename(head, Embedding); // saved under the other of its two names
            return config;
        }
        if (AreSame(table, embedding, head))
        {
            table.Ignore(head);
            return config;
        }
        warnings.Add($"'tie_word_embeddings' is true, but '{head.FileName}' differs from '{embedding.FileName}': the file's head is used.");
        return config with { TieEmbeddings = false };
    }

    // Every byte counts: a vocabulary may be extended by one row. What was read is given back as it goes.
    private static bool AreSame(TensorTable table, TensorInfo a, TensorInfo b)
    {
        if (a.Type != b.Type || a.Storage is not null || b.Storage is not null || !a.Shape.SequenceEqual(b.Shape))
            return false;
        try
        {
            for (long at = 0; at < a.ByteCount; at += ComparedBytes)
            {
                int count = (int)Math.Min(ComparedBytes, a.ByteCount - at);
                if (!table.Bytes(a, at, count).SequenceEqual(table.Bytes(b, at, count)))
                    return false;
                table.Drop(a, at, count);
                table.Drop(b, at, count);
            }
            return true;
        }
        finally
        {
            table.Drop(a);
            table.Drop(b);
        }
    }

    private static bool IsBuffer(string name)
    {
        string[] endings = [".rotary_emb.inv_freq", ".rotary_emb.cos_cached", ".rotary_emb.sin_cached", ".masked_bias", ".attn.bias", ".self_attn.mask"];
        return endings.Any(ending => name.EndsWith(ending, StringComparison.Ordinal));
    }

    // Layers that predict further tokens stand behind the model's own.
    private static bool IsNextTokenLayer(string name, int layers, TensorTable table)
    {
        if (name.StartsWith("mtp.", StringComparison.Ordinal) || name.StartsWith("model.mtp.", StringComparison.Ordinal))
            return true;
        return LayerName().Match(name) is { Success: true } match
            && int.TryParse(match.Groups[2].Value, CultureInfo.InvariantCulture, out int layer) && layer >= layers && table.Tensors.ContainsKey($"{match.Groups[1].Value}.eh_proj.weight");
    }

    [GeneratedRegex(@"^(model\.layers\.(\d+))\.", RegexOptions.CultureInvariant)]
    private static partial Regex LayerName();
}
