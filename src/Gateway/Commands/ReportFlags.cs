using System.CommandLine;
using System.Globalization;
using TpServe.Gateway.Reports.Inputs;
using TpServe.Gateway.Reports.Measuring;

namespace TpServe.Gateway.Commands;

/// <summary>The flags that a report has beside serve's, and what they ask for.</summary>
internal sealed class ReportFlags
{
    private const int MixPrompts = 12, MostStreams = 1024, MostCounts = 16;

    private readonly Option<string> _degrees = Text("--degrees", "N,…", "Tensor parallel degrees to measure, each an even split.", "1,2");
    private readonly Option<string[]> _partitions = new("--partition") { Description = "A split to measure too: one weight for each worker. May be given several times.", HelpName = "w0,w1,…" };
    private readonly Option<string> _wire = Text("--wire", "f32,bf16,q8", "What partial sums are sent as: each degree and split with each, and what rounding costs and saves.", VariantSpec.ExactWire);
    private readonly Option<string?> _prompts = new("--prompts") { Description = "File of prompts: a line is a JSON string, an object with \"prompt\", or plain text. Default: a mix of short, middle and long passages.", HelpName = "FILE" };
    private readonly Option<ulong> _seed = new("--seed") { Description = "Chooses the passages of the mix.", HelpName = "N", DefaultValueFactory = _ => 1 };
    private readonly Option<int> _tokens = new("--tokens") { Description = "Tokens generated after each prompt; 2 to 4096.", HelpName = "N", DefaultValueFactory = _ => 48 };
    private readonly Option<string> _streams = Text("--streams", "N,…", "Numbers of streams at which throughput is measured.", "1,8,32");
    private readonly Option<double> _seconds = new("--seconds") { Description = "For how long, at each of them; 0.2 to 600.", HelpName = "S", DefaultValueFactory = _ => 6 };
    private readonly Option<int> _rounds = new("--rounds") { Description = "Rounds over all groups in which throughput is measured; more tell chance on a shared machine; 1 to 100.", HelpName = "N", DefaultValueFactory = _ => 1 };
    private readonly Option<string?> _text = new("--text") { Description = "Text file whose perplexity is taken. Default: passages that lie in the program.", HelpName = "FILE" };
    private readonly Option<int> _textTokens = new("--text-tokens") { Description = "Most tokens of it that are read; 2 to 1000000.", HelpName = "N", DefaultValueFactory = _ => 2048 };
    private readonly Option<string?> _eval = new("--eval") { Description = "File of questions, one a line: {\"prompt\": …, \"choices\": […, …], \"answer\": position or text}; accuracy and macro F1 by log-likelihood.", HelpName = "FILE.jsonl" };
    private readonly Option<string> _reference = Text("--reference", "on|off", "Whether a server with activations of f32 is run too, for KL and the likeliest token.", "on");
    private readonly Option<string> _out = Text("--out", "FOLDER", "Where index.html, report.json, tables and TensorBoard's files go.", "tpserve-report");

    /// <summary>Gives a command these flags.</summary>
    public static ReportFlags AddTo(Command command)
    {
        ReportFlags flags = new();
        foreach (Option option in new Option[] { flags._degrees, flags._partitions, flags._wire, flags._prompts, flags._seed, flags._tokens, flags._streams, flags._seconds, flags._rounds, flags._text, flags._textTokens, flags._eval, flags._reference, flags._out })
            command.Options.Add(option);
        return flags;
    }

    /// <summary>Where files go.</summary>
    public string Folder(ParseResult parsed) => parsed.GetValue(_out)!;

    /// <summary>Whether the reference is run.</summary>
    /// <exception cref="InputFileException">It is neither on nor off.</exception>
    public bool Reference(ParseResult parsed) => parsed.GetValue(_reference) switch
    {
        "on" => true,
        "off" => false,
        var other => throw new InputFileException($"--reference {other}: write on or off."),
    };

    /// <summary>What is to be measured, as far as these flags say it; files are read.</summary>
    /// <exception cref="InputFileException">A value or a file is wrong; names it.</exception>
    public ReportOrder Order(ParseResult parsed)
    {
        string? prompts = parsed.GetValue(_prompts), text = parsed.GetValue(_text), eval = parsed.GetValue(_eval);
        ulong seed = parsed.GetValue(_seed);
        return new ReportOrder
        {
            Variants = VariantSpec.Of(parsed.GetValue(_degrees)!, parsed.GetValue(_partitions) ?? [], parsed.GetValue(_wire)!),
            ServerFlags = [],
            Threads = new([]),
            Cores = Environment.ProcessorCount,
            Prompts = prompts is null ? SyntheticMix.Create(seed, MixPrompts) : PromptFile.Read(prompts),
            PromptSource = prompts is null ? "synthetic mix" : Path.GetFileName(prompts),
            Seed = prompts is null ? seed : null,
            OutputTokens = Within(_tokens, parsed.GetValue(_tokens), 2, 4096),
            Streams = StreamsOf(parsed.GetValue(_streams)!),
            Window = TimeSpan.FromSeconds(Within(_seconds, parsed.GetValue(_seconds), 0.2, 600)),
            Rounds = Within(_rounds, parsed.GetValue(_rounds), 1, 100),
            Text = text is null ? SyntheticMix.EmbeddedText : InputFile.ReadText("--text", text),
            TextSource = text is null ? "embedded passages" : Path.GetFileName(text),
            TextTokens = Within(_textTokens, parsed.GetValue(_textTokens), 2, 1_000_000),
            Eval = eval is null ? [] : EvalFile.Read(eval),
            EvalSource = eval ?? "",
            Reference = Reference(parsed),
            ReadyTimeout = TimeSpan.Zero,
            ModelSummary = "",
            UnreadBytes = 0,
            HasDraft = false,
        };
    }

    private static int[] StreamsOf(string text)
    {
        int[] counts = [.. text.Split(',', StringSplitOptions.TrimEntries).Select(part =>
            int.TryParse(part, NumberStyles.None, CultureInfo.InvariantCulture, out int count) && count is >= 1 and <= MostStreams
                ? count
                : throw new InputFileException($"--streams {text}: '{part}' is no whole number in 1..{MostStreams}."))];
        return counts.Length <= MostCounts ? [.. counts.Distinct().Order()] : throw new InputFileException($"--streams {text}: at most {MostCounts} numbers are measured.");
    }

    private static T Within<T>(Option option, T value, T least, T most) where T : IComparable<T> => value.CompareTo(least) >= 0 && value.CompareTo(most) <= 0
        ? value
        : throw new InputFileException(string.Create(CultureInfo.InvariantCulture, $"{option.Name} {value}: it must be in {least}..{most}."));

    private static Option<string> Text(string name, string placeholder, string description, string fallback) =>
        new(name) { Description = description, HelpName = placeholder, DefaultValueFactory = _ => fallback };
}
