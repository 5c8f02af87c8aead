using System.Net;
using System.Net.Sockets;
using System.Text;
using TpServe.Gateway.Api.OpenAi;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Workers;
using TpServe.Protos.V1;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Api;

/// <summary>Answers requests that nobody has sent while the workers load, so that the first one that somebody sends finds its path compiled.</summary>
/// <remarks>
/// From the body's bytes to the events' it is the server's own code, with a parser, an engine and endpoints of its own over workers that only repeat the prompt:
/// no counter, log line or cache of the server's is touched. What the sockets add is one call of the server's own /health/live.
/// It goes round twice: what was compiled in the first round runs in the second.
/// </remarks>
internal static class Rehearsal
{
    private const int Rounds = 2, Tokens = 48;

    private const string Completion =
        """{"prompt":"The first light of the morning falls on the harbour, where the boats come in with 1,234 fish.\n","max_tokens":48,"temperature":0.7,"ignore_eos":true,"stream":true}""";

    private const string Chat = """{"messages":[{"role":"user","content":"Who goes there?"}],"max_tokens":8,"ignore_eos":true}""";

    private static readonly TimeSpan s_pause = TimeSpan.FromMilliseconds(30), s_callTimeout = TimeSpan.FromSeconds(2);

    /// <summary>Runs it; a fault of it is nobody's but its own, and told in words. Null where all went well.</summary>
    public static async Task<string?> RunAsync(ServingModel model, ServingSettings settings, IPEndPoint http, CancellationToken cancellation)
    {
        if (settings.MaxModelLen < 4 * Tokens)
            return "contexts are too short for it.";
        try
        {
            await using ServiceProvider services = Services(model, settings);
            using CancellationTokenSource over = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
            Task loop = services.GetRequiredService<InferenceEngine>().RunAsync(over.Token);
            try
            {
                for (int round = 0; round < Rounds; round++)
                {
                    await CallAsync(services, services.GetRequiredService<CompletionEndpoint>().HandleAsync, Completion, cancellation);
                    if (model.ChatTemplate is not null)
                        await CallAsync(services, services.GetRequiredService<ChatEndpoint>().HandleAsync, Chat, cancellation);
                    if (http.Port != 0) // one that the system chose is not known here
                        await GreetAsync(http, cancellation);
                    await Task.Delay(s_pause, cancellation);
                }
            }
            finally
            {
                await over.CancelAsync();
                await loop;
            }
            return null;
        }
        catch (Exception fault) when (!cancellation.IsCancellationRequested) // a template that refuses the conversation, a port that is taken away: the server serves all the same
        {
            return fault.Message;
        }
    }

    private static ServiceProvider Services(ServingModel model, ServingSettings settings)
    {
        ServiceCollection services = new();
        services.AddLogging();
        services.AddSingleton<IWorkerGroup>(new RepeatingGroup());
        services.AddTpServeApi(model, settings with { DraftTokens = 0, RequestTimeout = s_callTimeout, Engine = settings.Engine with { ResumeWindow = TimeSpan.Zero } });
        return services.BuildServiceProvider();
    }

    private static async Task CallAsync(IServiceProvider services, Func<HttpContext, Task> handle, string body, CancellationToken cancellation)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(body);
        DefaultHttpContext http = new() { RequestServices = services, RequestAborted = cancellation };
        http.Request.Method = HttpMethods.Post;
        http.Request.ContentLength = bytes.Length;
        http.Request.Body = new MemoryStream(bytes);
        http.Response.Body = new MemoryStream();
        await handle(http);
    }

    private static async Task GreetAsync(IPEndPoint http, CancellationToken cancellation)
    {
        using CancellationTokenSource deadline = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        deadline.CancelAfter(s_callTimeout);
        IPAddress address = http.Address.Equals(IPAddress.Any) ? IPAddress.Loopback : http.Address.Equals(IPAddress.IPv6Any) ? IPAddress.IPv6Loopback : http.Address;
        using Socket socket = new(address.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
        await socket.ConnectAsync(new IPEndPoint(address, http.Port), deadline.Token);
        await socket.SendAsync(Encoding.ASCII.GetBytes("GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"), deadline.Token);
        byte[] answer = new byte[1024];
        while (await socket.ReceiveAsync(answer, deadline.Token) > 0)
        {
        }
    }

    /// <summary>A group without workers: each sequence gets its prompt's tokens again, one a step.</summary>
    private sealed class RepeatingGroup : IWorkerGroup
    {
        private const int Blocks = 256, BlockTokens = 16, StepMicroseconds = 1000;

        private readonly Dictionary<ulong, IReadOnlyList<int>> _prompts = [];
        private readonly Queue<StepResult> _results = new();

        public GroupState State => GroupState.Ready;

        public string? Outage => null;

        public bool WantsRestore => false;

        public Task<GroupLife> WaitReadyAsync(CancellationToken cancellation) => Task.FromResult(new GroupLife(1, Blocks, BlockTokens));

        public Task SendAsync(StepPlan plan, CancellationToken cancellation)
        {
            foreach (NewSequence sequence in plan.NewSequences)
                _prompts[sequence.SequenceId] = sequence.TokenIds;
            StepResult result = new() { Epoch = plan.Epoch, Step = plan.Step, StepMicroseconds = StepMicroseconds, ComputeMicroseconds = StepMicroseconds };
            foreach (SequenceStep step in plan.Sequences)
            {
                SequenceResult own = new() { SequenceId = step.SequenceId };
                if (step.Sample)
                    own.TokenIds.Add(_prompts[step.SequenceId][(step.StartPosition + step.Tokens) % _prompts[step.SequenceId].Count]);
                result.Sequences.Add(own);
            }
            _results.Enqueue(result);
            return Task.CompletedTask;
        }

        public Task SendMasksAsync(StepMasks masks, CancellationToken cancellation) => Task.CompletedTask; // a rehearsal constrains nothing

        public Task<StepResult> ReceiveAsync(CancellationToken cancellation) => Task.FromResult(_results.Dequeue());

        public void Condemn(long epoch, string reason)
        {
            // The engine's complaint about an answer goes to who waits for it, too.
        }

        public Task RestoreAsync() => Task.CompletedTask;

        public GetTopologyResponse Topology() => new();

        public IAsyncEnumerable<TracedStep> TraceAsync(int steps, CancellationToken cancellation) => AsyncEnumerable.Empty<TracedStep>();
    }
}
