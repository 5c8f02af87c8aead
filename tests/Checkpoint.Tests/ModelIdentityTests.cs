using NUnit.Framework;

namespace TpServe.Checkpoint.Tests;

/// <summary>What tells a model's files from others in their place.</summary>
public sealed class ModelIdentityTests
{
    private static readonly DateTime s_written = new(2026, 1, 2, 3, 4, 5, DateTimeKind.Utc);

    private string _folder = null!;

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("identity-").FullName;

    [TearDown]
    public void DeleteFolder() => Directory.Delete(_folder, recursive: true);

    [Test]
    public void Of_SameFileElsewhere_DiffersInTheTimeAlone()
    {
        byte[] bytes = Bytes(3 << 20);
        ModelIdentity first = ModelIdentity.Of(Write("a/model.gguf", bytes)), second = ModelIdentity.Of(Write("b/model.gguf", bytes, s_written.AddTicks(10)));
        Assert.That(second.Content, Is.EqualTo(first.Content));
        Assert.That(second, Is.Not.EqualTo(first));
        Assert.That(ModelIdentity.Of(Path.Combine(_folder, "a/model.gguf")), Is.EqualTo(first));
        Assert.That(first.ToString(), Does.Contain("model.gguf of 3145728 bytes").And.Contain("2026-01-02 03:04:05"));
    }

    [TestCase(0)]                 // header
    [TestCase((1 << 20) - 1)]     // the header's last byte
    [TestCase((3 << 20) - 1)]     // the last page
    [TestCase(((3 << 20) - 4096) * 14 / 15 + 7)] // a sampled page between
    public void Of_OneByteOfHeaderOrASampledPage_IsAnotherContent(int changed)
    {
        byte[] bytes = Bytes(3 << 20);
        string before = ModelIdentity.Of(Write("model.gguf", bytes)).Content;
        bytes[changed] ^= 1;
        Assert.That(ModelIdentity.Of(Write("model.gguf", bytes)).Content, Is.Not.EqualTo(before));
    }

    [Test]
    public void Of_ALongerFile_IsAnotherContent()
    {
        string before = ModelIdentity.Of(Write("model.gguf", new byte[100])).Content;
        Assert.That(ModelIdentity.Of(Write("model.gguf", new byte[101])).Content, Is.Not.EqualTo(before));
    }

    [Test]
    public void Of_Folder_CoversConfigurationAndEveryWeightFileAndNothingElse()
    {
        foreach (string name in (string[])["config.json", "model-00001.safetensors", "model-00002.safetensors", "README.md"])
            Write(name, Bytes(5000));
        ModelIdentity before = ModelIdentity.Of(_folder);
        Write("README.md", Bytes(1));
        Assert.That(ModelIdentity.Of(_folder), Is.EqualTo(before));
        foreach (string name in (string[])["config.json", "model-00002.safetensors"])
        {
            Write(name, Bytes(5001));
            Assert.That(ModelIdentity.Of(_folder).Content, Is.Not.EqualTo(before.Content), name);
            Write(name, Bytes(5000));
        }
        File.Delete(Path.Combine(_folder, "model-00001.safetensors"));
        Assert.That(ModelIdentity.Of(_folder).Content, Is.Not.EqualTo(before.Content));
    }

    [Test]
    public void Of_NothingThere_SaysWhat()
    {
        Assert.That(() => ModelIdentity.Of(Path.Combine(_folder, "gone.gguf")), Throws.InstanceOf<ModelLoadException>().With.Message.Contains("gone.gguf"));
        Assert.That(() => ModelIdentity.Of(_folder), Throws.InstanceOf<ModelLoadException>().With.Message.Contains(_folder));
    }

    private static byte[] Bytes(int count)
    {
        byte[] bytes = new byte[count];
        new Random(count).NextBytes(bytes);
        return bytes;
    }

    private string Write(string name, byte[] bytes, DateTime? written = null)
    {
        string path = Path.Combine(_folder, name);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllBytes(path, bytes);
        File.SetLastWriteTimeUtc(path, written ?? s_written);
        return path;
    }
}
