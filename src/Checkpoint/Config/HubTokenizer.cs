using System.Text;

namespace TpServe.Checkpoint.Config;

/// <summary>The tokenizer's files of a folder in Hugging Face layout.</summary>
internal static class HubTokenizer
{
    private const long MaxTokenizerBytes = 512L << 20, MaxConfigBytes = 64 << 20, MaxTemplateBytes = 16 << 20;

    /// <summary>Reads them; where tokenizer.json is not required, a folder without one gives an empty one.</summary>
    public static TokenizerFiles Read(string folder, bool required)
    {
        string path = Path.Combine(folder, "tokenizer.json");
        byte[] tokenizer = JsonSection.ReadBytes(path, MaxTokenizerBytes)
            ?? (required ? throw new ModelLoadException($"{path}: there is no such file; TpServe needs the tokenizer in this form.") : []);
        JsonSection? config = JsonSection.ReadFile(Path.Combine(folder, "tokenizer_config.json"), MaxConfigBytes);
        return new TokenizerFiles
        {
            TokenizerJson = tokenizer,
            ChatTemplate = TemplateFile(Path.Combine(folder, "chat_template.jinja"))
                ?? Template(config)
                ?? Template(JsonSection.ReadFile(Path.Combine(folder, "chat_template.json"), MaxTemplateBytes)),
            BosToken = Token(config, "bos_token"),
            EosToken = Token(config, "eos_token"),
            AddBosToken = config?.Bool("add_bos_token"),
        };
    }

    private static string? TemplateFile(string path)
    {
        if (JsonSection.ReadBytes(path, MaxTemplateBytes) is not { } bytes)
            return null;
        try
        {
            return new UTF8Encoding(false, throwOnInvalidBytes: true).GetString(bytes);
        }
        catch (DecoderFallbackException fault)
        {
            throw new ModelLoadException($"{path}: not valid UTF-8.", fault);
        }
    }

    // One template, or a list of named ones of which "default" is the one for chats.
    private static string? Template(JsonSection? json)
    {
        if (json is null)
            return null;
        return json.IsArray("chat_template")
            ? json.Objects("chat_template")!.FirstOrDefault(t => t.String("name") == "default")?.String("template")
            : json.String("chat_template");
    }

    // A text, or an object with the text as its content.
    private static string? Token(JsonSection? json, string key)
    {
        if (json is null)
            return null;
        return json.IsObject(key) ? json.Object(key)!.String("content") : json.String(key);
    }
}
