using Microsoft.Extensions.Logging.Abstractions;
using NUnit.Framework;
using TpServe.Checkpoint.Config;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Tests.Engine;

/// <summary>An engine that runs on the fake group, and the parser before it.</summary>
internal sealed class EngineFixture : IAsyncDisposable
{
    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(20);

    private readonly CancellationTokenSource _stop = new();

    public EngineFixture(ServingSettings? settings = null, FakeWorkerGroup? group = null, bool start = true, GenerationDefaults? defaults = null)
    {
        settings ??= new ServingSettings { MaxModelLen = 128, MaxStepTokens = 32, ChunkTokens = 8, MaxSequences = 16, QueueLimit = 16 };
        Group = group ?? new FakeWorkerGroup();
        ServingModel model = TestModel.Model(defaults);
        Parser = new RequestParser(model, settings, Time, () => 4711);
        Engine = new InferenceEngine(Group, model.Tokenizer, settings.Scheduler, settings.Engine, Time, NullLogger<InferenceEngine>.Instance);
        if (start)
            Group.Start();
        Loop = Task.Run(() => Engine.RunAsync(_stop.Token));
    }

    public ManualTime Time { get; } = new();

    public FakeWorkerGroup Group { get; }

    public RequestParser Parser { get; }

    public InferenceEngine Engine { get; }

    public Task Loop { get; }

    public static GenerateRequest Text(string text, int maxTokens = 32) => new()
    {
        Text = text,
        Sampling = new SamplingOptions { Temperature = 0 },
        Stopping = new StoppingOptions { MaxTokens = maxTokens },
        Response = new ResponseOptions(),
    };

    /// <summary>All events of a request.</summary>
    public async Task<List<GenerationEvent>> RunAsync(
        GenerateRequest request, DateTimeOffset? deadline = null, CancellationToken cancellation = default)
    {
        List<GenerationEvent> events = [];
        async Task ReadAsync()
        {
            await foreach (GenerationEvent happened in Engine.GenerateAsync(Parser.Parse(request, deadline), cancellation: cancellation))
                events.Add(happened);
        }
        await ReadAsync().WaitAsync(s_patience, CancellationToken.None); // the engine must notice the cancellation, not this wait
        return events;
    }

    /// <summary>Text and end of output 0.</summary>
    public async Task<(string Text, FinishedEvent Finished)> AnswerAsync(GenerateRequest request)
    {
        List<GenerationEvent> events = await RunAsync(request);
        return (TextOf(events), events.OfType<FinishedEvent>().Single(finished => finished.OutputIndex == 0));
    }

    public static string TextOf(IEnumerable<GenerationEvent> events, int output = 0) =>
        string.Concat(events.OfType<DeltaEvent>().Where(delta => delta.OutputIndex == output).Select(delta => delta.Text));

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await Loop.WaitAsync(s_patience).ContinueWith(_ => { }, TaskScheduler.Default); // tests that expect a fault look at Loop themselves
        Assert.That(Loop.IsCompleted, Is.True, "the loop did not end");
        Engine.Dispose();
        _stop.Dispose();
    }
}

/// <summary>The parser where nothing waits: short prompts take no turns.</summary>
internal static class Parsing
{
    public static ValidatedRequest Parse(this RequestParser parser, GenerateRequest request, DateTimeOffset? deadline = null) =>
        parser.ParseAsync(request, deadline).GetAwaiter().GetResult();

    public static ValidatedRequest Parse(this RequestParser parser, ChatRequest request) => parser.ParseAsync(request).GetAwaiter().GetResult();
}
