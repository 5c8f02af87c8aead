namespace TpServe.Gateway.Tests.Answers;

/// <summary>What each template of the golden set shows: format of calls, who tells of tools, how calls of earlier turns are read, whether their results are, marks of thoughts.</summary>
internal static class GoldenFormats
{
    /// <summary>By the template's name.</summary>
    public static IReadOnlyDictionary<string, string> ByTemplate { get; } = new Dictionary<string, string>
    {
        ["Apriel-1.6-15b-Thinker-fixed"] = "apriel | template | object | results | apriel",
        ["Bielik-11B-v3.0-Instruct"] = "hermes | template | object | results | think",
        ["CISCai-Mistral-7B-Instruct-v0.3-SOTA-GGUF"] = "mistral | template | object | results | -",
        ["Deci-DeciLM-7B-instruct"] = "generic | words | - | - | -",
        ["GLM-4.6"] = "glm | template | object | results | think",
        ["GigaChat3-10B-A1.8B"] = "gigachat | template | object | results | -",
        ["HuggingFaceH4-zephyr-7b-beta-add_generation_prompt-true"] = "generic | words | - | - | -",
        ["HuggingFaceH4-zephyr-7b-gemma-v0.1"] = "generic | words | - | results | -",
        ["HuggingFaceTB-SmolLM2-135M-Instruct"] = "generic | words | - | results | -",
        ["HuggingFaceTB-SmolLM3-3B"] = "generic | words | - | results | think",
        ["HuggingFaceTB-SmolLM3-3B-b"] = "hermes | template | - | results | think",
        ["Kimi-K2-Instruct"] = "kimi-k2 | template | - | - | -",
        ["LFM2-8B-A1B"] = "generic | words | - | results | -",
        ["MadeAgents-Hammer2.1"] = "generic | words | - | results | -",
        ["MiMo-VL"] = "hermes | template | object | results | -",
        ["MiniMax-M2"] = "minimax-m2 | template | object | results | think",
        ["Mistral-Small-3.2-24B-Instruct-2506"] = "mistral-ids | template | object with short ids | results | -",
        ["NVIDIA-Nemotron-Nano-v2"] = "nemotron | template | object | results | think",
        ["NousResearch-Hermes-2-Pro-Llama-3-8B-JSON-Schema"] = "hermes | template | object | results | -",
        ["NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use"] = "hermes | template | object | results | -",
        ["Qwen-QwQ-32B"] = "hermes | template | object | results | think",
        ["Qwen-Qwen1.5-72B-Chat"] = "generic | words | - | results | -",
        ["Qwen-Qwen2.5-7B-Instruct"] = "hermes | template | object | results | -",
        ["Qwen-Qwen2.5-VL-7B-Instruct"] = "generic | words | - | results | -",
        ["Qwen-Qwen3-0.6B"] = "hermes | template | object | results | think",
        ["Qwen3-Coder"] = "qwen3-coder | template | object | results | -",
        ["Qwen3.5-4B"] = "qwen3-coder | template | object | results | think",
        ["TheBloke-Mistral-7B-Instruct-v0.1-GPTQ"] = "generic | words | - | - | -",
        ["TheBloke-deepseek-coder-33B-instruct-AWQ"] = "generic | words | - | results | -",
        ["cognitivecomputations-dolphin-2.5-mixtral-8x7b"] = "generic | words | - | results | -",
        ["deepseek-ai-DeepSeek-R1"] = "deepseek-r1 | words | text | results | think",
        ["deepseek-ai-DeepSeek-R1-Distill-Llama-8B"] = "deepseek-r1 | words | text without content | results | think",
        ["deepseek-ai-DeepSeek-R1-Distill-Qwen-32B"] = "deepseek-r1 | words | object | results | think",
        ["deepseek-ai-DeepSeek-V3.1"] = "deepseek-v3.1 | words | object | results | think",
        ["deepseek-ai-DeepSeek-V4"] = "generic | words | object | results | think",
        ["deepseek-ai-deepseek-coder-33b-instruct"] = "generic | words | - | results | -",
        ["fireworks-ai-llama-3-firefunction-v2"] = "generic | words | - | - | -",
        ["google-gemma-2-2b-it"] = "generic | words | - | - | -",
        ["google-gemma-4-31B-it"] = "generic | words | object | results | gemma",
        ["h2oai-h2o-danube-1.8b-chat"] = "generic | words | - | - | -",
        ["hf-default-_base"] = "generic | words | - | results | -",
        ["hf-default-gpt2"] = "generic | words | - | results | -",
        ["hf-default-llama"] = "generic | words | - | - | -",
        ["ibm-granite-granite-3.3-2B-Instruct"] = "granite | template | - | results | granite",
        ["ibm-granite-granite-4.0"] = "hermes | template | object | results | -",
        ["llama-cpp-deepseek-r1"] = "deepseek-r1 | words | object | results | think",
        ["llama-cpp-rwkv-world"] = "generic | words | - | - | think",
        ["meetkai-functionary-medium-v3.1"] = "functionary | template | object | results | -",
        ["meta-llama-Llama-3.1-8B-Instruct"] = "llama3 | template | object | results | -",
        ["meta-llama-Llama-3.2-11B-Vision-Instruct"] = "llama3 | template | object | results | -",
        ["meta-llama-Llama-3.2-3B-Instruct"] = "llama3 | template | object | results | -",
        ["microsoft-Phi-3.5-mini-instruct"] = "generic | words | - | - | -",
        ["mistralai-Mistral-7B-Instruct-v0.3-JSON-Schema"] = "mistral | template | object | results | -",
        ["mistralai-Mistral-Nemo-Instruct-2407"] = "mistral | template | object with short ids | results | -",
        ["mistralai-Mistral-Nemo-Instruct-2407-b"] = "mistral | template | object with short ids | results | -",
        ["mistralai-Mixtral-8x7B-Instruct-v0.1"] = "generic | words | - | - | -",
        ["moonshotai-Kimi-K2"] = "kimi-k2 | template | object | results | -",
        ["openai-gpt-oss-120b"] = "harmony | template | object | results | channels",
        ["poolside-Laguna-XS.2"] = "glm | template | object | results | think",
        ["unsloth-mistral-Devstral-Small-2507"] = "mistral-args | template | object | results | -",
        ["upstage-SOLAR-10.7B-Instruct-v1.0"] = "generic | words | - | - | -",
    };

    /// <summary>Those that write calls of a known format.</summary>
    public static IReadOnlySet<string> ReadBack { get; } = new HashSet<string>
    {
        "Apriel-1.6-15b-Thinker-fixed",
        "Bielik-11B-v3.0-Instruct",
        "CISCai-Mistral-7B-Instruct-v0.3-SOTA-GGUF",
        "GLM-4.6",
        "GigaChat3-10B-A1.8B",
        "MiMo-VL",
        "MiniMax-M2",
        "Mistral-Small-3.2-24B-Instruct-2506",
        "NVIDIA-Nemotron-Nano-v2",
        "NousResearch-Hermes-2-Pro-Llama-3-8B-JSON-Schema",
        "NousResearch-Hermes-2-Pro-Llama-3-8B-tool_use",
        "Qwen-QwQ-32B",
        "Qwen-Qwen2.5-7B-Instruct",
        "Qwen-Qwen3-0.6B",
        "Qwen3-Coder",
        "Qwen3.5-4B",
        "deepseek-ai-DeepSeek-R1-Distill-Qwen-32B",
        "deepseek-ai-DeepSeek-V3.1",
        "ibm-granite-granite-4.0",
        "meetkai-functionary-medium-v3.1",
        "meta-llama-Llama-3.1-8B-Instruct",
        "meta-llama-Llama-3.2-11B-Vision-Instruct",
        "meta-llama-Llama-3.2-3B-Instruct",
        "mistralai-Mistral-7B-Instruct-v0.3-JSON-Schema",
        "mistralai-Mistral-Nemo-Instruct-2407",
        "mistralai-Mistral-Nemo-Instruct-2407-b",
        "moonshotai-Kimi-K2",
        "openai-gpt-oss-120b",
        "poolside-Laguna-XS.2",
        "unsloth-mistral-Devstral-Small-2507",
    };

    /// <summary>Those that write only the first of several calls whole.</summary>
    public static IReadOnlySet<string> FirstCallOnly { get; } = new HashSet<string> { "GigaChat3-10B-A1.8B", "NousResearch-Hermes-2-Pro-Llama-3-8B-JSON-Schema", "openai-gpt-oss-120b" };

    /// <summary>Those that write, or allow, one call a message.</summary>
    public static IReadOnlySet<string> OneCallAMessage { get; } = new HashSet<string>
    {
        "GigaChat3-10B-A1.8B", "openai-gpt-oss-120b", "meta-llama-Llama-3.1-8B-Instruct", "meta-llama-Llama-3.2-11B-Vision-Instruct", "meta-llama-Llama-3.2-3B-Instruct",
    };
}
