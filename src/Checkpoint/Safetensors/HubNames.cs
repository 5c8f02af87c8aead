namespace TpServe.Checkpoint.Safetensors;

/// <summary>Tensors of families whose folders name or order them otherwise than Llama's.</summary>
/// <remarks>Source  the modelling code of Hugging Face transformers: module names, and which rows of a projection a head has.</remarks>
internal static class HubNames
{
    private static readonly (string Theirs, string Ours)[] GptNeox =
    [
        ("gpt_neox.embed_in.", "model.embed_tokens."), ("gpt_neox.final_layer_norm.", "model.norm."), ("embed_out.", "lm_head."), ("gpt_neox.layers.", "model.layers."),
        (".attention.query_key_value.", ".self_attn.qkv_proj."), (".attention.dense.", ".self_attn.o_proj."),
        (".mlp.dense_h_to_4h.", ".mlp.up_proj."), (".mlp.dense_4h_to_h.", ".mlp.down_proj."),
    ];

    /// <summary>Lists every tensor under its common name and with the order of its rows.</summary>
    /// <exception cref="ModelLoadException">A matrix that would have to be reordered is quantised.</exception>
    public static void Apply(TensorTable table, string architecture)
    {
        foreach (TensorInfo tensor in table.Tensors.Values.ToArray())
        {
            if (architecture is "gpt_neox" && tensor.Name.EndsWith(".attention.bias", StringComparison.Ordinal))
            {
                table.Ignore(tensor); // the causal mask, saved as a buffer
                continue;
            }
            string name = architecture is "gpt_neox" ? Renamed(tensor.Name) : tensor.Name;
            RowOrder order = OrderOf(architecture, name);
            if (name == tensor.Name && order == tensor.RowOrder)
                continue;
            if (tensor.Storage is not null)
                throw new ModelLoadException($"tensor '{tensor.FileName}' is quantised; TpServe reads quantised folders of architecture '{architecture}' only as GGUF files.");
            table.Rename(tensor, name, order);
        }
    }

    private static string Renamed(string name) => GptNeox.Aggregate(name, (text, pair) => text.Replace(pair.Theirs, pair.Ours, StringComparison.Ordinal));

    private static RowOrder OrderOf(string architecture, string name) => architecture switch
    {
        "gpt_neox" when name.Contains(".self_attn.qkv_proj.", StringComparison.Ordinal) => RowOrder.HeadTriples,
        // Neighbours are rotated together there.
        "cohere" or "cohere2" when name.Contains(".self_attn.q_proj.", StringComparison.Ordinal) || name.Contains(".self_attn.k_proj.", StringComparison.Ordinal) => RowOrder.InterleavedPairs,
        _ => RowOrder.Plain,
    };
}
