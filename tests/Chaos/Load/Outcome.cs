namespace TpServe.Chaos.Load;

/// <summary>How a request ended for its client.</summary>
internal enum OutcomeKind
{
    /// <summary>With every token it was to have.</summary>
    Answered,

    /// <summary>Its client left for good; what it had seen was right.</summary>
    Left,

    /// <summary>Its own deadline came.</summary>
    Deadline,

    /// <summary>The group was lost more often while it ran than a request lives through.</summary>
    TooManyLosses,

    /// <summary>The circuit was open.</summary>
    Refused,

    /// <summary>Taken for the cause of two workers' crashes in a row.</summary>
    Suspected,

    /// <summary>The server was asked to stop.</summary>
    Stopped,

    /// <summary>By a failure that no fault excuses.</summary>
    Lost,

    /// <summary>With an answer that is not the right one.</summary>
    Wrong,

    /// <summary>Not at all in the time there was.</summary>
    Hung,
}

/// <summary>How a request ended for its client, and what to tell of it.</summary>
internal sealed record Outcome(OutcomeKind Kind, string Detail = "")
{
    public static readonly Outcome Answered = new(OutcomeKind.Answered);

    public static readonly Outcome Left = new(OutcomeKind.Left);

    /// <summary>No fault excuses it.</summary>
    public bool IsViolation => Kind is OutcomeKind.Lost or OutcomeKind.Wrong or OutcomeKind.Hung;

    /// <summary>Of a whole stream.</summary>
    public static Outcome OfAnswer(Answer expected, Answer actual, string? disorder = null) =>
        (disorder ?? expected.Difference(actual)) is { } difference ? new Outcome(OutcomeKind.Wrong, difference) : Answered;

    /// <summary>Of a stream that its client left.</summary>
    public static Outcome OfBeginning(Answer expected, Transcript seen) =>
        (seen.Disorder ?? expected.DifferenceOfBeginning(seen.Answer())) is { } difference ? new Outcome(OutcomeKind.Wrong, difference) : Left;

    /// <summary>Of a failure.</summary>
    /// <param name="reason">As the server's error says, in capitals.</param>
    /// <param name="message">Its message.</param>
    /// <param name="losses">Losses that the client was told of before; null where it is not told.</param>
    public static Outcome OfFailure(string reason, string message, int? losses) => reason switch
    {
        "DEADLINE_EXCEEDED" => new Outcome(OutcomeKind.Deadline),
        "WORKER_LOST" when losses is null or >= MostLosses && message.Contains("was lost 4 times", StringComparison.Ordinal) => new Outcome(OutcomeKind.TooManyLosses),
        "POISON_REQUEST" => new Outcome(OutcomeKind.Suspected, message),
        "GROUP_UNAVAILABLE" => new Outcome(OutcomeKind.Refused, message),
        _ => new Outcome(OutcomeKind.Lost, $"{reason} after {losses} losses: {message}"),
    };

    /// <summary>Losses that a request lives through.</summary>
    public const int MostLosses = 3;
}
