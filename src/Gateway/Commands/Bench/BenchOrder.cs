namespace TpServe.Gateway.Commands.Bench;

/// <summary>What a benchmark asks of a server.</summary>
internal sealed record BenchOrder
{
    /// <summary>Requests in all.</summary>
    public required int Prompts { get; init; }

    /// <summary>Requests a second on average; infinite = all at once.</summary>
    public required double Rate { get; init; }

    /// <summary>Shape of the gaps between arrivals: 1 = Poisson, less comes in bursts, more is even.</summary>
    public required double Burstiness { get; init; }

    /// <summary>Most requests at once; null = as many as arrive.</summary>
    public required int? Concurrency { get; init; }

    /// <summary>Chooses prompts, lengths and arrivals.</summary>
    public required int Seed { get; init; }

    /// <summary>How long one request may take.</summary>
    public required TimeSpan Timeout { get; init; }

    /// <summary>Percentiles that are told beside mean and median, 0 to 100.</summary>
    public required IReadOnlyList<double> Percentiles { get; init; }

    /// <summary>What a request must keep to count as good, in milliseconds.</summary>
    public required Goodput Goodput { get; init; }
}

/// <summary>Bounds of a good request in milliseconds; null = none.</summary>
internal sealed record Goodput(double? Ttft, double? Tpot, double? E2el)
{
    /// <summary>Whether there is any.</summary>
    public bool IsAsked => Ttft is not null || Tpot is not null || E2el is not null;

    /// <summary>Reads words like ttft:500; throws <see cref="FormatException"/> with what is wrong.</summary>
    public static Goodput Parse(IReadOnlyList<string> words)
    {
        Dictionary<string, double> bounds = [];
        foreach (string word in words)
        {
            string[] parts = word.Split(':');
            if (parts.Length != 2 || parts[0] is not ("ttft" or "tpot" or "e2el")
                || !double.TryParse(parts[1], System.Globalization.NumberStyles.Float, System.Globalization.CultureInfo.InvariantCulture, out double bound) || !(bound > 0) || !double.IsFinite(bound))
                throw new FormatException($"--goodput {word}: write ttft:MS, tpot:MS or e2el:MS.");
            bounds[parts[0]] = bound;
        }
        return new Goodput(Of("ttft"), Of("tpot"), Of("e2el"));

        double? Of(string name) => bounds.TryGetValue(name, out double bound) ? bound : null;
    }
}

/// <summary>One request to send.</summary>
/// <param name="Prompt">Its text; empty where it is token ids.</param>
/// <param name="TokenIds">Its token ids; empty where it is text.</param>
/// <param name="OutputTokens">Most tokens of its answer.</param>
internal sealed record BenchRequest(string Prompt, IReadOnlyList<int> TokenIds, int OutputTokens);

/// <summary>What came of one, in seconds of one clock.</summary>
/// <param name="Sent">When it was sent.</param>
internal sealed record BenchRecord(double Sent)
{
    /// <summary>When each piece of the answer came.</summary>
    public List<double> Pieces { get; } = [];

    /// <summary>Tokens of the prompt; 0 where the server does not tell.</summary>
    public int InputTokens { get; set; }

    /// <summary>Tokens of the answer.</summary>
    public int OutputTokens { get; set; }

    /// <summary>Why it failed; null = it did not.</summary>
    public string? Failure { get; set; }

    /// <summary>From request to first piece.</summary>
    public double Ttft => Pieces[0] - Sent;

    /// <summary>Mean time of a token after the first; null where there is none.</summary>
    public double? Tpot => OutputTokens > 1 && Pieces.Count > 1 ? (Pieces[^1] - Pieces[0]) / (OutputTokens - 1) : null;

    /// <summary>From request to last piece.</summary>
    public double E2el => Pieces[^1] - Sent;

    /// <summary>Whether there is an answer to measure.</summary>
    public bool IsComplete => Failure is null && Pieces.Count > 0;
}

/// <summary>A server under test.</summary>
internal interface IBenchTarget : IDisposable
{
    /// <summary>In words.</summary>
    string Name { get; }

    /// <summary>Learns what prompts need; throws <see cref="BenchFault"/> where the server cannot be asked.</summary>
    Task<PromptPool> PrepareAsync(CancellationToken cancellation);

    /// <summary>Sends one request and fills the record as pieces come; failures go into it.</summary>
    Task RunAsync(BenchRequest request, BenchRecord record, CancellationToken cancellation);
}

/// <summary>A benchmark cannot be run; one line says why.</summary>
internal sealed class BenchFault(string message) : Exception(message);
