using System.Text;
using NUnit.Framework;
using TpServe.Checkpoint.Adapters;
using TpServe.Testing;

namespace TpServe.Checkpoint.Tests;

/// <summary>PEFT folders: what is read of them, and what is refused by name.</summary>
public sealed class AdapterTests
{
    private string _folder = "";

    [SetUp]
    public void Copy()
    {
        _folder = Directory.CreateTempSubdirectory("tpserve-adapter-").FullName;
        foreach (string file in Directory.EnumerateFiles(TestData.Local("lora/r6-rslora-mlp")))
            File.Copy(file, Path.Combine(_folder, Path.GetFileName(file)));
    }

    [TearDown]
    public void Delete() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void Config_Patterns_AreMatchedAsPeftDoes()
    {
        Write("""{"peft_type":"LORA","r":4,"lora_alpha":8,"target_modules":".*\\.(q|v)_proj","layers_to_transform":[1],"rank_pattern":{"layers.1.self_attn.q_proj":16},"alpha_pattern":{"v_proj":2},"exclude_modules":["k_proj"],"use_rslora":false}""");
        AdapterConfig config = AdapterConfig.Read(Path.Combine(_folder, "adapter_config.json"));
        const string Q = "model.layers.1.self_attn.q_proj", V = "model.layers.1.self_attn.v_proj";
        Assert.That((config.Targets(Q, 1), config.Targets(Q, 0), config.Targets("model.layers.1.self_attn.k_proj", 1)), Is.EqualTo((true, false, false)));
        Assert.That((config.RankOf(Q), config.ScaleOf(Q), config.RankOf(V), config.ScaleOf(V)), Is.EqualTo((16, 0.5f, 4, 0.5f)));
    }

    [Test]
    public void Config_RankStabilised_ScalesByTheRoot()
    {
        Write("""{"r":16,"lora_alpha":8,"target_modules":["q_proj"],"use_rslora":true}""");
        Assert.That(AdapterConfig.Read(Path.Combine(_folder, "adapter_config.json")).ScaleOf("model.layers.0.self_attn.q_proj"), Is.EqualTo(2f));
    }

    [TestCase("""{"r":0,"lora_alpha":8,"target_modules":["q_proj"]}""", "'r'")]
    [TestCase("""{"r":257,"lora_alpha":8,"target_modules":["q_proj"]}""", "'r'")]
    [TestCase("""{"r":4,"lora_alpha":NaN,"target_modules":["q_proj"]}""", "not valid JSON")]
    [TestCase("""{"r":4,"lora_alpha":1e30,"target_modules":["q_proj"]}""", "'lora_alpha'")]
    [TestCase("""{"r":4,"lora_alpha":8}""", "'target_modules'")]
    [TestCase("""{"r":4,"lora_alpha":8,"target_modules":"("}""", "'target_modules'")]
    [TestCase("""{"r":4,"lora_alpha":8,"target_modules":["q_proj"],"modules_to_save":["lm_head"]}""", "'modules_to_save'")]
    [TestCase("""{"r":4,"lora_alpha":8,"target_modules":["q_proj"],"use_dora":true}""", "'use_dora'")]
    [TestCase("""{"r":4,"lora_alpha":8,"target_modules":["q_proj"],"bias":"all"}""", "'bias'")]
    [TestCase("""{"r":4,"lora_alpha":8,"target_modules":["q_proj"],"trainable_token_indices":[3]}""", "'trainable_token_indices'")]
    [TestCase("""{"r":4,"lora_alpha":8,"target_modules":["q_proj"],"peft_type":"IA3"}""", "'peft_type'")]
    [TestCase("""{"r":4,"lora_alpha":8,"target_modules":["q_proj"],"something_new":1}""", "'something_new'")]
    public void Config_WhatIsNotServed_IsRefusedByName(string json, string named)
    {
        Write(json);
        Assert.That(() => AdapterCheckpoint.Open(_folder), Throws.TypeOf<ModelLoadException>().With.Message.Contains(named));
    }

    [Test]
    public void Weights_PickledTruncatedOrOddlyNamed_AreRefused()
    {
        string weights = Path.Combine(_folder, "adapter_model.safetensors");
        byte[] bytes = File.ReadAllBytes(weights);
        File.WriteAllBytes(weights, bytes[..^7]);
        Assert.That(() => AdapterCheckpoint.Open(_folder), Throws.TypeOf<ModelLoadException>());
        File.WriteAllBytes(weights, Encoding.Latin1.GetBytes(Encoding.Latin1.GetString(bytes).Replace("lora_A", "lora_C", StringComparison.Ordinal)));
        Assert.That(() => AdapterCheckpoint.Open(_folder), Throws.TypeOf<ModelLoadException>().With.Message.Contains("lora_C"));
        File.Move(weights, Path.Combine(_folder, "adapter_model.bin"));
        Assert.That(() => AdapterCheckpoint.Open(_folder), Throws.TypeOf<ModelLoadException>().With.Message.Contains("pickle"));
    }

    private void Write(string json) => File.WriteAllText(Path.Combine(_folder, "adapter_config.json"), json);
}
