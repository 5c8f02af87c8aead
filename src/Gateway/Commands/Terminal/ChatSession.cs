using System.Globalization;
using System.Text.Encodings.Web;
using System.Text.Json;
using TpServe.Gateway.Settings;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Commands.Terminal;

/// <summary>What a /command leads to.</summary>
internal enum ChatStep { Stay, Answer, Exit }

/// <summary>A conversation at the terminal and what its /commands change; asks nobody.</summary>
internal sealed class ChatSession(SamplingOptions sampling, StoppingOptions stopping)
{
    private const long MostFileBytes = 16 << 20;
    private static readonly JsonSerializerOptions s_json = new() { WriteIndented = true, Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private static readonly (string Name, string Value, string Does)[] s_commands =
    [
        ("/help", "", "this list"),
        ("/system", "[TEXT]", "instructions before the conversation; without TEXT shows them, - takes them away"),
        ("/temperature", "[T]", "0 = greedy; - is the model's"),
        ("/top-p", "[P]", "nucleus; - is the model's"),
        ("/top-k", "[K]", "likeliest tokens kept; - is the model's"),
        ("/seed", "[N]", "makes sampled answers repeatable; - is a new one each time"),
        ("/max-tokens", "[N]", "most tokens of an answer; - is the rest of the context"),
        ("/regenerate", "", "answers the last message again; also after a fault"),
        ("/undo", "", "takes the last message and its answer back"),
        ("/clear", "", "begins anew, with the same settings"),
        ("/save", "FILE", "writes the conversation as JSON"),
        ("/load", "FILE", "goes on with a conversation that was written"),
        ("/exit", "", "ends; so does Ctrl-D"),
    ];

    private readonly List<ChatMessage> _messages = [];

    /// <summary>Instructions; empty = none.</summary>
    public string System { get; set; } = "";

    /// <summary>Messages and answers, the oldest first.</summary>
    public IReadOnlyList<ChatMessage> Messages => _messages;

    /// <summary>What is asked of the server next.</summary>
    public ChatRequest Request()
    {
        ChatRequest request = new() { Sampling = sampling.Clone(), Stopping = stopping.Clone(), Response = new ResponseOptions { Recovering = true } };
        if (System.Length > 0)
            request.Messages.Add(new ChatMessage { Role = ChatRole.System, Content = System });
        request.Messages.Add(_messages);
        return request;
    }

    /// <summary>A message. One that was never answered gives way to it.</summary>
    public void Say(string text)
    {
        DropUnanswered();
        _messages.Add(new ChatMessage { Role = ChatRole.User, Content = text });
    }

    /// <summary>Its answer, as far as it came.</summary>
    public void Answered(string text)
    {
        if (text.Length > 0)
            _messages.Add(new ChatMessage { Role = ChatRole.Assistant, Content = text });
    }

    /// <summary>Does what a /command says.</summary>
    /// <param name="line">Begins with /.</param>
    /// <param name="said">What to tell.</param>
    public ChatStep Run(string line, out string said)
    {
        string[] words = line.Split(' ', 2, StringSplitOptions.TrimEntries);
        string value = words.Length > 1 ? words[1] : "";
        said = "";
        switch (words[0])
        {
            case "/help" or "/?":
                said = string.Join('\n', s_commands.Select(one => $"  {one.Name + " " + one.Value,-20} {one.Does}"))
                    + "\n  A backslash at the end of a line, or Alt-Enter, goes on with the message. Ctrl-C stops an answer. Two slashes begin a message with one.";
                return ChatStep.Stay;
            case "/system":
                System = value switch { "" => System, "-" => "", _ => value };
                said = System.Length > 0 ? "system: " + System : "no system prompt";
                return ChatStep.Stay;
            case "/temperature":
                said = Set<float>(value, "temperature", v => sampling.Temperature = v, sampling.ClearTemperature, () => sampling.HasTemperature ? sampling.Temperature : null);
                return ChatStep.Stay;
            case "/top-p":
                said = Set<float>(value, "top-p", v => sampling.TopP = v, sampling.ClearTopP, () => sampling.HasTopP ? sampling.TopP : null);
                return ChatStep.Stay;
            case "/top-k":
                said = Set<int>(value, "top-k", v => sampling.TopK = v, sampling.ClearTopK, () => sampling.HasTopK ? sampling.TopK : null);
                return ChatStep.Stay;
            case "/seed":
                said = Set<ulong>(value, "seed", v => sampling.Seed = v, sampling.ClearSeed, () => sampling.HasSeed ? sampling.Seed : null);
                return ChatStep.Stay;
            case "/max-tokens":
                said = Set<int>(value, "max-tokens", v => stopping.MaxTokens = v, stopping.ClearMaxTokens, () => stopping.HasMaxTokens ? stopping.MaxTokens : null);
                return ChatStep.Stay;
            case "/regenerate":
                if (_messages.Count > 0 && _messages[^1].Role == ChatRole.Assistant)
                    _messages.RemoveAt(_messages.Count - 1);
                if (_messages.Count > 0)
                    return ChatStep.Answer;
                said = "there is nothing to answer";
                return ChatStep.Stay;
            case "/undo":
                int last = _messages.FindLastIndex(message => message.Role == ChatRole.User);
                said = last < 0 ? "there is nothing to take back" : "taken back: " + Short(_messages[last].Content);
                _messages.RemoveRange(Math.Max(0, last), last < 0 ? 0 : _messages.Count - last);
                return ChatStep.Stay;
            case "/clear":
                _messages.Clear();
                said = "a new conversation";
                return ChatStep.Stay;
            case "/save":
                said = value.Length == 0 ? "/save FILE: where to?" : Save(value);
                return ChatStep.Stay;
            case "/load":
                said = value.Length == 0 ? "/load FILE: from where?" : Load(value);
                return ChatStep.Stay;
            case "/exit" or "/quit":
                return ChatStep.Exit;
            default:
                said = Spelling.Near(words[0], s_commands.Select(one => one.Name)) is { } near ? $"{words[0]}: no such command; the nearest is {near}" : $"{words[0]}: no such command; /help lists what there is";
                return ChatStep.Stay;
        }
    }

    private void DropUnanswered()
    {
        if (_messages.Count > 0 && _messages[^1].Role == ChatRole.User)
            _messages.RemoveAt(_messages.Count - 1);
    }

    private static string Set<T>(string value, string name, Action<T> set, Action clear, Func<T?> get)
        where T : struct, IParsable<T>, IFormattable
    {
        if (value == "-")
            clear();
        else if (value.Length > 0)
        {
            if (!T.TryParse(value, CultureInfo.InvariantCulture, out T parsed))
                return $"{name}: '{value}' is no {(typeof(T) == typeof(float) ? "number" : "whole number")}";
            set(parsed);
        }
        return get() is { } now ? string.Create(CultureInfo.InvariantCulture, $"{name}: {now}") : $"{name}: the default";
    }

    private string Save(string path)
    {
        try
        {
            File.WriteAllText(path, JsonSerializer.Serialize(new SavedChat(System, [.. _messages.Select(message => new SavedMessage(message.Role == ChatRole.User ? "user" : "assistant", message.Content))]), s_json) + "\n");
            return string.Create(CultureInfo.InvariantCulture, $"{_messages.Count} messages written to {path}");
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return $"{path} cannot be written: {fault.Message}";
        }
    }

    private string Load(string path)
    {
        try
        {
            if (new FileInfo(path) is { Exists: true, Length: > MostFileBytes })
                return $"{path} is too large for a conversation";
            SavedChat saved = JsonSerializer.Deserialize<SavedChat>(File.ReadAllText(path), s_json) ?? throw new JsonException("it is empty");
            if (saved.Messages is not { } messages || messages.Any(message => message is not { Role: "user" or "assistant", Content: not null }))
                return $"{path} holds no conversation that /save wrote";
            _messages.Clear();
            _messages.AddRange(messages.Select(message => new ChatMessage { Role = message.Role == "user" ? ChatRole.User : ChatRole.Assistant, Content = message.Content }));
            System = saved.System ?? "";
            return string.Create(CultureInfo.InvariantCulture, $"{_messages.Count} messages read from {path}");
        }
        catch (JsonException)
        {
            return $"{path} holds no conversation that /save wrote";
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException or ArgumentException)
        {
            return $"{path} cannot be read: {fault.Message}";
        }
    }

    private static string Short(string text) => text.ReplaceLineEndings(" ") is { Length: > 60 } long_ ? long_[..57] + "…" : text.ReplaceLineEndings(" ");

    private sealed record SavedChat(string? System, IReadOnlyList<SavedMessage>? Messages);

    private sealed record SavedMessage(string Role, string Content);
}
