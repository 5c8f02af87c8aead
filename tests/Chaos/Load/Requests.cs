using TpServe.Protos.V1;

namespace TpServe.Chaos.Load;

/// <summary>A request of the load, and its right answers over both interfaces.</summary>
/// <param name="Index">Names it.</param>
/// <param name="Body">What is asked; each time under an id of its own.</param>
internal sealed record KnownRequest(int Index, GenerateRequest Body)
{
    public Answer? OverGrpc { get; set; }

    public Answer? OverHttp { get; set; }

    public int Outputs => Body.Sampling.HasN ? Body.Sampling.N : 1;

    /// <summary>The same under an id that nothing else has.</summary>
    public GenerateRequest Named(string id) => new(Body) { RequestId = id };

    public override string ToString() => $"request {Index} {Body}";
}

/// <summary>What the load asks: a bit of everything that changes what the server does with a request.</summary>
internal static class Requests
{
    private static readonly string[] Prefixes =
    [
        "",
        "You are a careful assistant who answers in plain words and never makes anything up. The user asks about the natural world, about history and about numbers. ",
        "Rivers begin in the mountains. They run down through valleys, past villages and towns, until they reach the sea. On their way they carry sand and stones, "
            + "and sometimes they carry boats. People have always lived beside rivers, because a river gives water, food and a way to travel. ",
    ];

    private static readonly string[] Questions =
    [
        "The capital of France is", "The three largest planets are", "Once upon a time there was a fox who", "To bake bread you need",
        "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14,", "def add(a, b):\n    return a + b\n\ndef sub(a, b):\n    return a - b\n\ndef mul(a, b):",
        "Water boils at", "The sea is salty because", "Trees lose their leaves in", "A list of colours: red, green, blue, red, green, blue, red,",
    ];

    private static readonly string[] StopStrings = [".", "\n", " the", ", and", "12"];

    /// <summary>So many requests, decided by the random numbers.</summary>
    public static IReadOnlyList<KnownRequest> Create(int count, Random random) => [.. Enumerable.Range(0, count).Select(i => new KnownRequest(i, Body(random)))];

    private static GenerateRequest Body(Random random)
    {
        GenerateRequest body = new()
        {
            Text = Prefixes[random.Next(Prefixes.Length)] + Questions[random.Next(Questions.Length)],
            Sampling = Sampling(random),
            Stopping = new StoppingOptions { MaxTokens = random.Next(4, 40), IgnoreEos = random.Next(2) == 0 },
            Response = new ResponseOptions { TokenIds = true, Recovering = true },
        };
        if (random.Next(3) == 0)
            body.Stopping.Stop.AddRange(random.GetItems(StopStrings, 2).Distinct());
        if (random.Next(4) == 0)
            body.Stopping.MinTokens = random.Next(1, 4);
        if (random.Next(2) == 0)
            (body.Response.Logprobs, body.Response.TopLogprobs) = (true, random.Next(0, 5));
        if (random.Next(5) == 0)
            body.Response.PromptLogprobs = random.Next(0, 3);
        if (random.Next(3) == 0)
            body.DraftTokens = 8;
        if (random.Next(3) == 0)
            body.Priority = random.Next(-10, 11);
        if (random.Next(5) == 0)
            body.Cache = random.Next(2) == 0 ? new CacheOptions { Bypass = true } : new CacheOptions { Salt = "pepper" };
        return body;
    }

    private static SamplingOptions Sampling(Random random)
    {
        if (random.Next(2) == 0)
            return new SamplingOptions { Temperature = 0 };
        SamplingOptions sampling = new() { Temperature = 0.7f + random.NextSingle(), Seed = (ulong)random.Next() };
        if (random.Next(2) == 0)
            sampling.TopK = random.Next(5, 60);
        if (random.Next(2) == 0)
            sampling.TopP = 0.9f;
        if (random.Next(4) == 0)
            sampling.MinP = 0.02f;
        if (random.Next(3) == 0)
            sampling.RepetitionPenalty = 1.1f;
        if (random.Next(2) == 0)
            sampling.N = random.Next(2, 4);
        return sampling;
    }
}
