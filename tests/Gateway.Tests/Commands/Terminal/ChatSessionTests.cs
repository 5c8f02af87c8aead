using NUnit.Framework;
using TpServe.Gateway.Commands;
using TpServe.Gateway.Commands.Terminal;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Tests.Commands.Terminal;

/// <summary>/commands, what is sent after them, the files beside a conversation, and how a server is named.</summary>
public sealed class ChatSessionTests
{
    private string _folder = "";

    [SetUp]
    public void MakeFolder() => _folder = Directory.CreateTempSubdirectory("tpserve-chat-").FullName;

    [TearDown]
    public void DeleteFolder() => Directory.Delete(_folder, recursive: true);

    private static ChatSession Talked()
    {
        ChatSession session = new(new SamplingOptions(), new StoppingOptions());
        session.Say("one");
        session.Answered("1");
        session.Say("two");
        session.Answered("2");
        return session;
    }

    private static string Words(ChatSession session) => string.Join(' ', session.Request().Messages.Select(message => $"{message.Role}:{message.Content}"));

    [TestCase("/temperature 0.5", "temperature: 0.5")]
    [TestCase("/top-p 0.9", "top-p: 0.9")]
    [TestCase("/seed 18446744073709551615", "seed: 18446744073709551615")]
    [TestCase("/max-tokens 12", "max-tokens: 12")]
    [TestCase("/max-tokens", "max-tokens: the default")]
    [TestCase("/temperature hot", "temperature: 'hot' is no number")]
    [TestCase("/system be brief", "system: be brief")]
    [TestCase("/system -", "no system prompt")]
    [TestCase("/tempreature 1", "/tempreature: no such command; the nearest is /temperature")]
    [TestCase("/help", "/regenerate")]
    public void Command_Setting_SaysWhatHolds(string line, string expected)
    {
        Assert.That(Talked().Run(line, out string said), Is.EqualTo(ChatStep.Stay));
        Assert.That(said, Does.Contain(expected));
    }

    [Test]
    public void Command_Settings_AreSent()
    {
        ChatSession session = Talked();
        foreach (string line in new[] { "/system be brief", "/temperature 0.5", "/seed 7", "/max-tokens 3", "/top-p 0.5", "/top-p -" })
            session.Run(line, out _);
        ChatRequest request = session.Request();
        Assert.That((request.Sampling.Temperature, request.Sampling.Seed, request.Stopping.MaxTokens, request.Sampling.HasTopP), Is.EqualTo((0.5f, 7ul, 3, false)));
        Assert.That(Words(session), Is.EqualTo("System:be brief User:one Assistant:1 User:two Assistant:2"));
    }

    [Test]
    public void Regenerate_AndUndo_TakeBackWhatTheySay()
    {
        ChatSession session = Talked();
        Assert.That(session.Run("/regenerate", out _), Is.EqualTo(ChatStep.Answer));
        Assert.That(Words(session), Is.EqualTo("User:one Assistant:1 User:two"));
        session.Run("/undo", out string said);
        Assert.That((said, Words(session)), Is.EqualTo(("taken back: two", "User:one Assistant:1")));
        session.Run("/clear", out _);
        Assert.That(session.Run("/regenerate", out said), Is.EqualTo(ChatStep.Stay));
        Assert.That(session.Run("/exit", out _), Is.EqualTo(ChatStep.Exit));
    }

    [Test]
    public void Message_ThatWasNeverAnswered_IsKeptForRegenerateAndGivesWayToTheNext()
    {
        ChatSession session = Talked();
        session.Say("lost");
        session.Answered("");
        Assert.That(session.Run("/regenerate", out _), Is.EqualTo(ChatStep.Answer));
        Assert.That(Words(session), Does.EndWith("Assistant:2 User:lost"));
        session.Say("next");
        Assert.That(Words(session), Does.EndWith("Assistant:2 User:next"));
    }

    [Test]
    public void SaveAndLoad_AFile_GoOnWithTheConversation()
    {
        string path = Path.Combine(_folder, "talk.json");
        ChatSession session = Talked();
        session.Run("/system größe", out _);
        session.Run($"/save {path}", out string said);
        Assert.That(said, Is.EqualTo($"4 messages written to {path}"));
        ChatSession other = new(new SamplingOptions(), new StoppingOptions());
        other.Run($"/load {path}", out said);
        Assert.That((said, Words(other)), Is.EqualTo(($"4 messages read from {path}", Words(session))));
        File.WriteAllText(path, """{"messages":[{"role":"system","content":"x"}]}""");
        other.Run($"/load {path}", out said);
        Assert.That(said, Does.Contain("no conversation"));
        other.Run($"/load {_folder}/missing", out said);
        Assert.That(said, Does.Contain("cannot be read"));
        other.Run("/save", out said);
        Assert.That(said, Does.Contain("where to?"));
    }

    [Test]
    public void History_OfMessages_IsTheOwnersAloneAndComesBack()
    {
        string path = Path.Combine(_folder, "cache", "tpserve", "chat-history");
        InputHistory history = new(path);
        foreach (string text in new[] { "one", "two\nlines", "back\\slash \\n", "back\\slash \\n" })
            history.Add(text);
        Assert.That(new InputHistory(path).Entries, Is.EqualTo(new[] { "one", "two\nlines", "back\\slash \\n" }));
        if (!OperatingSystem.IsWindows())
            Assert.That(File.GetUnixFileMode(path), Is.EqualTo(UnixFileMode.UserRead | UnixFileMode.UserWrite));
        InputHistory nowhere = new(Path.Combine("/proc", "nothing", "history"));
        nowhere.Add("kept in memory");
        Assert.That(nowhere.Entries, Is.EqualTo(new[] { "kept in memory" }));
        Assert.That(InputHistory.PathOf([new("HOME", "/home/a"), new("XDG_CACHE_HOME", "/c")]), Is.EqualTo("/c/tpserve/chat-history"));
        Assert.That(InputHistory.PathOf([new("HOME", "/home/a")]), Is.EqualTo("/home/a/.cache/tpserve/chat-history"));
        Assert.That(InputHistory.PathOf([]), Is.Null);
    }

    [TestCase("localhost:8081", "http://localhost:8081/")]
    [TestCase("127.0.0.1:8081", "http://127.0.0.1:8081/")]
    [TestCase("[::1]:8081", "http://[::1]:8081/")]
    [TestCase("https://host", "https://host/")]
    [TestCase("ftp://host", null)]
    [TestCase("", null)]
    [TestCase("host:port", null)]
    [TestCase("http://", null)]
    public void Server_AsPeopleWriteIt_IsAnAddressOrToldThatItIsNone(string text, string? expected)
    {
        Assert.That(ServerAddress.TryParse(text, out Uri? address, out string fault), Is.EqualTo(expected is not null));
        if (expected is null)
            Assert.That(fault, Does.Contain($"'{text}'"));
        else
            Assert.That(address!.ToString(), Is.EqualTo(expected));
    }
}
