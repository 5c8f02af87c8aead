using System.Collections.Frozen;

namespace TpServe.Checkpoint.Config;

/// <summary>Refuses a config.json with a key that nobody here reads and that, by its name, changes what the model computes.</summary>
/// <remarks>
/// A key is passed over where a family reads it (what the reference of another family ignores too), where it says how the model was trained, saved or is run, where
/// none of its words belongs to arithmetic, and where its value asks for nothing: null, false, 0, an empty text, list or object, or a factor of 1.
/// </remarks>
internal static class HubConfigKeys
{
    /// <summary>Keys that some family reads.</summary>
    private static readonly FrozenSet<string> Read = FrozenSet.ToFrozenSet(
    [
        "_sliding_window_pattern", "attention_bias", "attention_multiplier", "attn_logit_softcapping", "clip_qkv", "decoder_sparse_step", "embedding_multiplier", "experts_per_token",
        "final_logit_softcapping", "first_k_dense_replace", "head_dim", "hidden_act", "hidden_activation", "hidden_size", "intermediate_size", "kv_lora_rank", "layer_norm_eps", "layer_types",
        "logit_scale", "logits_scaling", "max_position_embeddings", "max_window_layers", "mlp_bias", "mlp_only_layers", "moe_intermediate_size", "moe_layer_freq", "n_group",
        "n_routed_experts", "n_shared_experts", "no_rope_layer_interval", "no_rope_layers", "norm_epsilon", "norm_topk_prob", "num_attention_heads", "num_experts", "num_experts_per_tok",
        "num_hidden_layers", "num_key_value_heads", "num_local_experts", "original_max_position_embeddings", "partial_rotary_factor", "q_lora_rank", "qk_head_dim", "qk_layernorm",
        "qk_nope_head_dim", "qk_rope_head_dim", "query_pre_attn_scalar", "residual_multiplier", "rms_norm_eps", "rope_interleave", "rope_local_base_freq", "rope_parameters", "rope_scaling",
        "rope_theta", "rotary_emb_base", "rotary_pct", "routed_scaling_factor", "scoring_func", "shared_expert_intermediate_size", "shared_intermediate_size", "sliding_window",
        "sliding_window_pattern", "swiglu_alpha", "swiglu_limit", "tie_word_embeddings", "topk_group", "topk_method", "use_bias", "use_parallel_residual", "use_qk_norm", "use_qkv_bias",
        "use_sliding_window", "v_head_dim", "vocab_size",
    ]);

    /// <summary>Keys with words of arithmetic that change no answer, and why.</summary>
    private static readonly FrozenSet<string> Harmless = FrozenSet.ToFrozenSet(
    [
        "router_jitter_noise", "jitter_noise", "input_jitter_noise", // in training alone
        "num_nextn_predict_layers", // layers that guess ahead, which are not run
        "logits_to_keep", "num_logits_to_keep", // which logits a library returns
        "tensor_parallel_size", "pipeline_parallel_size", "sequence_parallel", "use_parallel_embedding", // how it was run
        "layer_norm_epsilon", "norm_eps", "norm_type", "activation_function", // beside the keys that are read, in files of several libraries
        "attention_softmax_in_fp32", "scale_attention_softmax_in_fp32", // as it is here
        "use_gated_activation", "use_parallel_block", // what Command R7B is anyway
    ]);

    /// <summary>Words of keys about training, saving and running.</summary>
    private static readonly FrozenSet<string> AboutRunning = FrozenSet.ToFrozenSet(
    [
        "dropout", "pdrop", "drop", "loss", "coef", "init", "initializer", "std", "implementation", "impl", "flash", "sdpa", "backend", "fused", "cache", "kernel", "checkpointing", "dtype", "output",
        "version", "training", "train",
    ]);

    /// <summary>Words of keys that take part in arithmetic.</summary>
    private static readonly FrozenSet<string> Arithmetic = FrozenSet.ToFrozenSet(
    [
        "act", "activation", "alibi", "altup", "attention", "attn", "bias", "cap", "clip", "conv", "expert", "experts", "factor", "gate", "gated", "gating", "latent", "laurel", "layernorm", "linear",
        "logit", "logits", "lora", "mamba", "multiplier", "norm", "normalization", "parallel", "qk", "recurrent", "residual", "rmsnorm", "rope", "rotary", "routed", "router", "scalar", "scale",
        "scaled", "scales", "scaling", "sigmoid", "sink", "sinks", "softcap", "softcapping", "softmax", "ssm", "temperature", "theta", "window",
    ]);

    private static readonly string[] Factors = ["factor", "multiplier", "scalar", "scale", "scaling", "temperature"];

    /// <exception cref="ModelLoadException">There is such a key; names it.</exception>
    public static void Check(JsonSection json)
    {
        foreach (string key in json.Names)
        {
            if (Read.Contains(key) || Harmless.Contains(key) || key.StartsWith('_'))
                continue;
            string[] words = key.ToLowerInvariant().Split('_');
            if (words.Any(AboutRunning.Contains) || !words.Any(Arithmetic.Contains) || json.IsNeutral(key, isFactor: words.Any(Factors.Contains)))
                continue;
            throw json.Fault(key, "is a key that no served family has, and by its name it changes what the model computes; where it does not, take it out of the file");
        }
    }
}
