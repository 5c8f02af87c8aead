using System.Diagnostics;
using System.Net.Sockets;
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

    [TestCase("model.gguf", "a named pipe")]
    [TestCase("model.gguf", "a socket")]
    [CancelAfter(20_000), Platform("Linux")]
    public void Open_PathOfAnotherKind_IsNamedAndNotWaitedFor(string name, string kind)
    {
        string path = Path.Combine(_scratch.Path, name);
        using IDisposable made = Make(path, kind);
        Assert.That(Fault(path), Does.StartWith($"{path}: is {kind}; expected"));
        Assert.That(Assert.Throws<ModelLoadException>(() => ModelIdentity.Of(path))!.Message, Does.Contain("is " + kind));
    }

    [Test, Platform("Linux")]
    public void Open_Device_IsNamed() => Assert.That(Fault("/dev/null"), Does.StartWith("/dev/null: is a character device; expected"));

    [TestCase("config.json")]
    [TestCase("tokenizer.json")]
    [TestCase("tokenizer_config.json")]
    [TestCase("generation_config.json")]
    [TestCase("chat_template.jinja")]
    [TestCase("model.safetensors.index.json")]
    [TestCase("model.safetensors")]
    [CancelAfter(20_000), Platform("Linux")]
    public void Open_PipeAmongTheFilesOfAFolder_IsNamedAndNotWaitedFor(string name)
    {
        using HubFolder folder = new();
        folder.Delete(name);
        string path = Path.Combine(folder.Path, name);
        using IDisposable made = Make(path, "a named pipe");
        Assert.That(Fault(folder.Path), Does.Contain($"{path}: is a named pipe; a regular file is needed."));
    }

    [Test, Platform("Linux")]
    public void Open_LinkToItself_IsNamed()
    {
        string path = Path.Combine(_scratch.Path, "model.gguf");
        File.CreateSymbolicLink(path, path);
        Assert.That(Fault(path), Does.Contain("is a loop of symbolic links"));
    }

    [Test]
    public void Name_FolderWithSlashAtTheEnd_IsTheFoldersName()
    {
        using HubFolder folder = new();
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(folder.Path + "/");
        Assert.That(checkpoint.Name, Is.EqualTo(Path.GetFileName(folder.Path)));
    }

    [Test]
    public void Name_SnapshotInTheHubsCache_IsTheRepositorys()
    {
        using HubFolder folder = new();
        string snapshots = Path.Combine(_scratch.Path, "models--some-org--some-model", "snapshots");
        Directory.CreateDirectory(snapshots);
        string snapshot = Path.Combine(snapshots, "0123456789abcdef");
        Directory.CreateSymbolicLink(snapshot, folder.Path);
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(snapshot);
        Assert.That(checkpoint.Name, Is.EqualTo("some-org/some-model"));
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

    private static IDisposable Make(string path, string kind)
    {
        if (kind == "a socket")
        {
            Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
            socket.Bind(new UnixDomainSocketEndPoint(path));
            return socket;
        }
        Process mkfifo = Process.Start("mkfifo", [path]);
        Assert.That(mkfifo.WaitForExit(TimeSpan.FromSeconds(10)) && mkfifo.ExitCode == 0, Is.True, "mkfifo");
        return mkfifo;
    }

    private static string Fault(string path) => Assert.Throws<ModelLoadException>(() => ModelCheckpoints.Open(path))!.Message;
}
