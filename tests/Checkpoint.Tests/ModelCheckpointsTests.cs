using NUnit.Framework;

namespace TpServe.Checkpoint.Tests;

public sealed class ModelCheckpointsTests
{
    private ScratchFolder _scratch = null!;

    [SetUp]
    public void CreateFolder() => _scratch = new ScratchFolder();

    [TearDown]
    public void DeleteFolder() => _scratch.Dispose();

    [Test]
    public void Open_NoSuchPath_NamesPathAndWhatIsExpected()
    {
        string path = Path.Combine(_scratch.Path, "nothing-here");
        Assert.That(Fault(path), Does.Contain(path).And.Contain(".gguf").And.Contain("config.json"));
    }

    [Test]
    public void Open_FolderWithoutConfig_NamesPathAndWhatIsExpected() => Assert.That(Fault(_scratch.Path), Does.Contain(_scratch.Path).And.Contain("config.json"));

    [Test]
    public void Open_OtherFile_NamesPathAndWhatIsExpected() => Assert.That(Fault(_scratch.Write("model.bin", "x")), Does.Contain("model.bin").And.Contain(".gguf"));

    [Test]
    public void Name_FolderWithSlashAtTheEnd_IsTheFoldersName()
    {
        using HubFolder folder = new();
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(folder.Path + "/");
        Assert.That(checkpoint.Name, Is.EqualTo(Path.GetFileName(folder.Path)));
    }

    [Test]
    public void Bytes_OfATensorOfAnotherCheckpoint_IsRefused()
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(_scratch.Write("model.gguf", GgufBuilder.Model().Build()));
        TensorInfo stranger = new("model.nothing.weight", TensorType.F32, [1], RowOrder.Plain);
        Assert.That(Assert.Throws<ArgumentException>(() => checkpoint.Bytes(stranger))!.Message, Does.Contain("model.nothing.weight"));
    }

    [Test]
    public void Bytes_AfterDispose_IsRefused()
    {
        ModelCheckpoint checkpoint = ModelCheckpoints.Open(_scratch.Write("model.gguf", GgufBuilder.Model().Build()));
        TensorInfo tensor = checkpoint.Tensors["model.norm.weight"];
        checkpoint.Dispose();
        Assert.Throws<ObjectDisposedException>(() => checkpoint.Bytes(tensor));
        Assert.DoesNotThrow(checkpoint.Dispose);
    }

    private static string Fault(string path) => Assert.Throws<ModelLoadException>(() => ModelCheckpoints.Open(path))!.Message;
}
