using NUnit.Framework;
using TpServe.Checkpoint.Hub;

namespace TpServe.Checkpoint.Tests;

/// <summary>What names a model of the hub, and what is a path.</summary>
public sealed class HubModelIdTests
{
    [TestCase("org/name", "org/name", "main", null)]
    [TestCase("org/name:Q4_K_M", "org/name", "main", "Q4_K_M")]
    [TestCase("Org-1/Name.2_x@v1.0:sub/a-00001-of-00002.gguf", "Org-1/Name.2_x", "v1.0", "sub/a-00001-of-00002.gguf")]
    [TestCase("org/name@refs/pr/1", "org/name", "refs/pr/1", null)]
    [TestCase("org/name-GGUF@0123456789012345678901234567890123456789", "org/name-GGUF", "0123456789012345678901234567890123456789", null)]
    public void TryParse_NameOfAModel_IsTaken(string text, string repository, string revision, string? selection)
    {
        Assert.That(HubModelId.TryParse(text, out HubModelId? id), Is.True);
        Assert.That(id, Is.EqualTo(new HubModelId(repository, revision, selection)));
        Assert.That(id!.ToString(), Is.EqualTo(text));
    }

    [TestCase("")]
    [TestCase("name")]
    [TestCase("/org/name")]
    [TestCase("./org/name")]
    [TestCase("../name")]
    [TestCase("models/other/name")]
    [TestCase("models/file.gguf")] // a file was meant
    [TestCase("org/..")]
    [TestCase("org/a--b")] // the cache writes / so
    [TestCase("org/a..b")]
    [TestCase("-org/name")]
    [TestCase("org/name.git")]
    [TestCase("org/na me")]
    [TestCase("org/näme")]
    [TestCase("org/name\n")]
    [TestCase("org/name@")]
    [TestCase("org/name@../x")]
    [TestCase("org/name@a//b")]
    [TestCase("org/name@.hidden")]
    [TestCase("org/name:")]
    [TestCase("org/name:../x.gguf")]
    [TestCase("org/name:a/../../x.gguf")]
    [TestCase("org/name:/etc/x.gguf")]
    [TestCase("org/name:a\\x.gguf")]
    [TestCase("org/name:a:b")]
    public void TryParse_OtherText_IsNone(string text) => Assert.That(HubModelId.TryParse(text, out _), Is.False);

    [Test]
    public void From_Variables_FindTheCacheAsHuggingFaceDoes()
    {
        Assert.That(CacheOf(("HOME", "/home/a")), Is.EqualTo("/home/a/.cache/huggingface/hub"));
        Assert.That(CacheOf(("HOME", "/home/a"), ("XDG_CACHE_HOME", "/c")), Is.EqualTo("/c/huggingface/hub"));
        Assert.That(CacheOf(("XDG_CACHE_HOME", "/c"), ("HF_HOME", "/h")), Is.EqualTo("/h/hub"));
        Assert.That(CacheOf(("HF_HOME", "/h"), ("HF_HUB_CACHE", "/x")), Is.EqualTo("/x"));
        Assert.That(Assert.Throws<HubException>(() => CacheOf())!.Fault, Is.EqualTo(HubFault.Refused));

        static string CacheOf(params (string Name, string Value)[] variables) => HubOptions.From([.. variables.Select(one => KeyValuePair.Create(one.Name, one.Value))]).Cache;
    }

    [Test]
    public void From_TokenFile_IsReadWhereNoVariableSaysOne()
    {
        using ScratchFolder home = new();
        home.Write("token", "hf_file\n");
        Assert.That(HubOptions.From([KeyValuePair.Create("HF_HOME", home.Path)]).Token, Is.EqualTo("hf_file"));
        HubOptions both = HubOptions.From([KeyValuePair.Create("HF_HOME", home.Path), KeyValuePair.Create("HF_TOKEN", "hf_own"), KeyValuePair.Create("HF_HUB_OFFLINE", "1"), KeyValuePair.Create("HF_ENDPOINT", "http://h")]);
        Assert.That((both.Token, both.Offline, both.Endpoint), Is.EqualTo(("hf_own", true, "http://h")));
    }
}
