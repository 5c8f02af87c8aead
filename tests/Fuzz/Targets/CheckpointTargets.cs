using System.Text;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Tests;
using TpServe.Testing;
using TpServe.Tokenization;

namespace TpServe.Fuzz.Targets;

/// <summary>A GGUF file: header, keys, tensors' places, and the tokenizer in it.</summary>
internal sealed class GgufTarget() : FuzzTarget("gguf")
{
    private readonly ScratchFolder _scratch = new();

    public override IReadOnlyList<byte[]> Seeds { get; } =
    [
        Tokens(GgufBuilder.Model()).Build(),
        Tokens(GgufBuilder.Model("qwen3")).Float32("qwen3.rope.freq_base", 1e6f).UInt32("qwen3.attention.key_length", 16).UInt32("qwen3.attention.value_length", 16).Build(),
        Tokens(GgufBuilder.Model()).String("llama.rope.scaling.type", "yarn").Float32("llama.rope.scaling.factor", 2)
            .Array("general.nested", 9, 1, [.. BitConverter.GetBytes(4u), .. BitConverter.GetBytes(1UL), 1, 0, 0, 0])
            .Tensor("rope_freqs.weight", [8], 0, [.. Enumerable.Repeat(1f, 8).SelectMany(BitConverter.GetBytes)]).Build(),
    ];

    public override IReadOnlyList<string> Words { get; } =
        ["\u0000\u0000\u0000\u0000", "\u0001\u0000\u0000\u0000\u0000\u0000\u0000\u0000", "\u0008\u0000\u0000\u0000", "\u0009\u0000\u0000\u0000", "llama", "gpt2", "tokenizer.ggml.tokens", "general.architecture", "GGUF"];

    public override bool IsText => false;

    /// <summary>The tokenizer's tables, as below.</summary>
    public override long FixedBytes => 4 << 20;

    public override int Share => 6;

    public override bool Read(byte[] input)
    {
        string path = _scratch.Write("model.gguf", input);
        try
        {
            using ModelCheckpoint checkpoint = ModelCheckpoints.Open(path);
            foreach (TensorInfo tensor in checkpoint.Tensors.Values)
                checkpoint.Bytes(tensor);
            Tokenizer.Create(checkpoint.Tokenizer).Encode("abc", addSpecialTokens: true, parseSpecialTokens: true);
            return true;
        }
        catch (Exception fault) when (fault is ModelLoadException or TokenizerException)
        {
            return false;
        }
    }

    public override void Dispose() => _scratch.Dispose();

    private static GgufBuilder Tokens(GgufBuilder builder) =>
        builder.String("tokenizer.ggml.pre", "gpt-2").Strings("tokenizer.ggml.merges").Int32s("tokenizer.ggml.token_type", 1, 1, 1, 1, 1, 1, 3, 3);
}

/// <summary>One file of a Hugging Face folder whose other files are right.</summary>
internal sealed class HubTarget : FuzzTarget
{
    private static readonly UTF8Encoding s_utf8 = new(false);

    private readonly HubFolder _folder = new();
    private readonly string _file;

    private HubTarget(string name, string file, IReadOnlyList<byte[]> seeds, int share) : base(name) => (_file, Seeds, Share) = (file, seeds, share);

    public override IReadOnlyList<byte[]> Seeds { get; }

    public override int Share { get; }

    /// <summary>The header of model.safetensors.</summary>
    public static HubTarget Safetensors() => new("safetensors", "model.safetensors",
    [
        HubFolder.Safetensors(("model.a", "BF16", [3, 2], new byte[12]), ("model.b", "F32", [1], new byte[4])),
        HubFolder.Safetensors("""{"__metadata__":{"format":"pt"},"model.norm.weight":{"dtype":"F16","shape":[2,0],"data_offsets":[0,0]},"lm_head.weight":{"dtype":"F32","shape":[2,2],"data_offsets":[0,16]}}""", new byte[16]),
    ], 5);

    /// <summary>model.safetensors.index.json.</summary>
    public static HubTarget Index()
    {
        HubTarget target = new("index", "model.safetensors.index.json",
        [
            """{"metadata":{"total_size":8},"weight_map":{"model.norm.weight":"model-00001-of-00002.safetensors","model.embed_tokens.weight":"model-00002-of-00002.safetensors"}}"""u8.ToArray(),
        ], 4);
        target._folder.Delete("model.safetensors")
            .Write("model-00001-of-00002.safetensors", HubFolder.Safetensors(("model.norm.weight", "F32", [2], new byte[8])))
            .Write("model-00002-of-00002.safetensors", HubFolder.Safetensors(("model.embed_tokens.weight", "F32", [2, 1], new byte[8])));
        return target;
    }

    /// <summary>config.json of every family.</summary>
    public static HubTarget Config()
    {
        string[] files = [.. Directory.EnumerateFiles(TestData.Local("models"), "config.json", SearchOption.AllDirectories).Order(StringComparer.Ordinal)];
        return new("config", "config.json", [.. files.Select(File.ReadAllBytes)], 6);
    }

    /// <summary>tokenizer_config.json, with the template's place and the special tokens.</summary>
    public static HubTarget TokenizerConfig() => new("tokenizer-config", "tokenizer_config.json",
    [
        """{"add_bos_token":true,"bos_token":{"content":"<s>","lstrip":false,"special":true},"eos_token":"</s>","chat_template":"{{ bos_token }}","model_max_length":2048,"added_tokens_decoder":{"0":{"content":"<s>","special":true}}}"""u8.ToArray(),
        """{"chat_template":[{"name":"default","template":"{{ messages[0].content }}"},{"name":"tool_use","template":"x"}],"eos_token":null}"""u8.ToArray(),
    ], 3);

    /// <summary>generation_config.json.</summary>
    public static HubTarget Generation() => new("generation-config", "generation_config.json",
        ["""{"bos_token_id":1,"eos_token_id":[2,7],"temperature":0.6,"top_p":0.9,"top_k":20,"repetition_penalty":1.1,"do_sample":true,"max_length":4096}"""u8.ToArray()], 3);

    public override bool Read(byte[] input)
    {
        _folder.Write(_file, input);
        try
        {
            using ModelCheckpoint checkpoint = ModelCheckpoints.Open(_folder.Path);
            foreach (TensorInfo tensor in checkpoint.Tensors.Values)
                checkpoint.Bytes(tensor);
            _ = (checkpoint.Config, checkpoint.Generation, checkpoint.Pooling, checkpoint.Tokenizer);
            return true;
        }
        catch (ModelLoadException)
        {
            return false;
        }
    }

    public override void Dispose() => _folder.Dispose();
}

/// <summary>tokenizer.json, and texts through what it makes.</summary>
internal sealed class TokenizerTarget() : FuzzTarget("tokenizer")
{
    private const string Words1 = """{"model":{"type":"BPE","vocab":{"a":0,"b":1,"ab":2,"Ġ":3,"<s>":4},"merges":["a b"]}""", Text = "ab a中é<s> 12345\n\tab";

    public override IReadOnlyList<byte[]> Seeds { get; } = [.. Rules().Select(Encoding.UTF8.GetBytes)];

    public override IReadOnlyList<string> Words { get; } = [.. Mutator.Json, "\"Sequence\"", "\"Split\"", "\"ByteLevel\"", "\"Replace\"", "\"(?i:a+)*b\"", "\"\\\\p{L}+|\\\\s+(?!\\\\S)\"", "\"Metaspace\"", "\"type\"", "\"Unigram\"", "(", "+", "*", "\\\\p{"];

    /// <summary>Tables by UTF-16 unit and by Unicode class, which every tokenizer has.</summary>
    public override long FixedBytes => 4 << 20;

    public override int Share => 30;

    public override bool Read(byte[] input)
    {
        try
        {
            Tokenizer tokenizer = Tokenizer.Create(new TokenizerFiles { TokenizerJson = input });
            tokenizer.Decode(tokenizer.Encode(Text, addSpecialTokens: true, parseSpecialTokens: true), skipSpecialTokens: false);
            return true;
        }
        catch (TokenizerException)
        {
            return false;
        }
    }

    public override void Dispose()
    {
    }

    private static IEnumerable<string> Rules()
    {
        yield return Words1 + ""","added_tokens":[{"id":4,"content":"<s>","special":true,"single_word":false,"lstrip":true,"rstrip":false,"normalized":false}],"pre_tokenizer":{"type":"Sequence","pretokenizers":[{"type":"Split","pattern":{"Regex":"(?i:'s|'t)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}|\\s+(?!\\S)|\\s+"},"behavior":"Isolated","invert":false},{"type":"ByteLevel","add_prefix_space":true,"trim_offsets":true,"use_regex":false}]},"decoder":{"type":"ByteLevel"},"post_processor":{"type":"TemplateProcessing","single":[{"SpecialToken":{"id":"<s>","type_id":0}},{"Sequence":{"id":"A","type_id":0}}],"pair":[],"special_tokens":{"<s>":{"id":"<s>","ids":[4],"tokens":["<s>"]}}}}""";
        yield return """{"normalizer":{"type":"Sequence","normalizers":[{"type":"Prepend","prepend":"▁"},{"type":"Replace","pattern":{"String":" "},"content":"▁"},{"type":"NFC"},{"type":"Lowercase"}]},"model":{"type":"BPE","byte_fallback":true,"fuse_unk":true,"unk_token":"<unk>","vocab":{"<unk>":0,"▁":1,"a":2,"b":3,"▁a":4},"merges":[["▁","a"]]},"decoder":{"type":"Sequence","decoders":[{"type":"Replace","pattern":{"String":"▁"},"content":" "},{"type":"ByteFallback"},{"type":"Fuse"},{"type":"Strip","content":" ","start":1,"stop":0}]}}""";
        yield return """{"pre_tokenizer":{"type":"Metaspace","replacement":"▁","prepend_scheme":"first","split":false},"model":{"type":"Unigram","unk_id":0,"vocab":[["<unk>",0.0],["▁",-2.5],["a",-3.0],["b",-3.5],["ab",-1.25]],"byte_fallback":false}}""";
        yield return """{"normalizer":{"type":"BertNormalizer","clean_text":true,"handle_chinese_chars":true,"strip_accents":null,"lowercase":true},"pre_tokenizer":{"type":"BertPreTokenizer"},"model":{"type":"WordPiece","unk_token":"[UNK]","continuing_subword_prefix":"##","max_input_chars_per_word":100,"vocab":{"[UNK]":0,"a":1,"##b":2,"[CLS]":3,"[SEP]":4}},"post_processor":{"type":"BertProcessing","sep":["[SEP]",4],"cls":["[CLS]",3]},"decoder":{"type":"WordPiece","prefix":"##","cleanup":true}}""";
    }
}
