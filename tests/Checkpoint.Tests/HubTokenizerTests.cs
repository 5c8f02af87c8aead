using NUnit.Framework;
using TpServe.Checkpoint.Config;

namespace TpServe.Checkpoint.Tests;

public sealed class HubTokenizerTests
{
    private HubFolder _folder = null!;

    [SetUp]
    public void CreateFolder() => _folder = new HubFolder();

    [TearDown]
    public void DeleteFolder() => _folder.Dispose();

    [Test]
    public void Tokenizer_TokensAsTextOrObject_AreRead()
    {
        _folder.Write("tokenizer_config.json", """{ "bos_token": "<s>", "eos_token": { "content": "</s>", "special": true }, "add_bos_token": true, "model_max_length": 1000000000000000019884624838656 }""");
        TokenizerFiles files = Tokenizer();
        Assert.That((files.BosToken, files.EosToken, files.AddBosToken, files.ChatTemplate), Is.EqualTo(("<s>", "</s>", (bool?)true, (string?)null)));
    }

    [Test]
    public void Tokenizer_NamedTemplates_GiveTheDefault()
    {
        _folder.Write("tokenizer_config.json", """{ "chat_template": [ { "name": "tool_use", "template": "T" }, { "name": "default", "template": "D" } ] }""");
        Assert.That(Tokenizer().ChatTemplate, Is.EqualTo("D"));
    }

    [Test]
    public void Tokenizer_TemplateFiles_ComeInOrder()
    {
        _folder.Write("chat_template.json", """{ "chat_template": "from json" }""");
        Assert.That(Tokenizer().ChatTemplate, Is.EqualTo("from json"));
        _folder.Write("tokenizer_config.json", """{ "chat_template": "from config" }""");
        Assert.That(Tokenizer().ChatTemplate, Is.EqualTo("from config"));
        _folder.Write("chat_template.jinja", "from jinja");
        Assert.That(Tokenizer().ChatTemplate, Is.EqualTo("from jinja"));
    }

    [TestCase("""{ "bos_token": 5 }""", "bos_token")]
    [TestCase("""{ "bos_token": { "content": 5 } }""", "bos_token.content")]
    [TestCase("""{ "add_bos_token": "yes" }""", "add_bos_token")]
    [TestCase("""{ "chat_template": [ "x" ] }""", "chat_template[0]")]
    [TestCase("""{ "chat_template": [ { "name": "default", "template": 5 } ] }""", "chat_template[0].template")]
    public void Open_WrongTokenizerConfig_NamesFileAndKey(string json, string key)
    {
        _folder.Write("tokenizer_config.json", json);
        Assert.That(Fault(), Does.Contain("tokenizer_config.json").And.Contain(key));
    }

    [Test]
    public void Open_NoTokenizer_NamesTheFile()
    {
        _folder.Delete("tokenizer.json");
        Assert.That(Fault(), Does.Contain("tokenizer.json"));
    }

    [Test]
    public void Open_TemplateOfInvalidUtf8_NamesTheFile()
    {
        _folder.Write("chat_template.jinja", [0xFF, 0xFE]);
        Assert.That(Fault(), Does.Contain("chat_template.jinja").And.Contain("UTF-8"));
    }

    [Test]
    public void Generation_File_GoesBeforeConfig()
    {
        _folder.Config("llama", "\"eos_token_id\": 1, \"bos_token_id\": 3");
        Assert.That(Generation().EosTokenIds, Is.EqualTo(new[] { 1 }));
        _folder.Write("generation_config.json", """{ "eos_token_id": [5, 6, 5], "do_sample": true, "temperature": 0.6, "top_p": 0.9, "top_k": 40, "min_p": 0.05, "repetition_penalty": 1.1 }""");
        GenerationDefaults generation = Generation();
        Assert.That(generation.EosTokenIds, Is.EqualTo(new[] { 5, 6, 1 }), "of all places");
        Assert.That(
            (generation.BosTokenId, generation.DoSample, generation.Temperature, generation.TopP, generation.TopK, generation.MinP, generation.RepetitionPenalty),
            Is.EqualTo(((int?)3, (bool?)true, (float?)0.6f, (float?)0.9f, (int?)40, (float?)0.05f, (float?)1.1f)));
    }

    [TestCase("""{ "eos_token_id": -5 }""", "eos_token_id")]
    [TestCase("""{ "eos_token_id": [1, "x"] }""", "eos_token_id[1]")]
    [TestCase("""{ "top_p": 1.5 }""", "top_p")]
    [TestCase("""{ "temperature": -1 }""", "temperature")]
    public void Open_WrongGenerationConfig_NamesFileAndKey(string json, string key)
    {
        _folder.Write("generation_config.json", json);
        Assert.That(Fault(), Does.Contain("generation_config.json").And.Contain(key));
    }

    private TokenizerFiles Tokenizer()
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(_folder.Path);
        return checkpoint.Tokenizer;
    }

    private GenerationDefaults Generation()
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(_folder.Path);
        return checkpoint.Generation;
    }

    private string Fault() => Assert.Throws<ModelLoadException>(() => ModelCheckpoints.Open(_folder.Path))!.Message;
}
