using Google.Rpc;
using Grpc.Core;
using Grpc.Net.Client;
using TpServe.Protos.V1;

namespace TpServe.Chaos.Load;

/// <summary>Asks over gRPC in every way a client may, losing the connection and leaving included.</summary>
/// <remarks>Threads  any number of requests at once.</remarks>
internal sealed class GrpcClient(int port) : IDisposable
{
    private readonly GrpcChannel _channel = GrpcChannel.ForAddress($"http://127.0.0.1:{port}");

    private Inference.InferenceClient Inference => new(_channel);

    /// <summary>The answer, at once.</summary>
    /// <exception cref="RpcException">There is none.</exception>
    public async Task<Answer> AskAsync(KnownRequest request, string id, CancellationToken cancellation, DateTime? deadline = null)
    {
        GenerateResponse response = await Inference.GenerateAsync(request.Named(id), deadline: deadline, cancellationToken: cancellation);
        Transcript transcript = new(request.Outputs) { Prompt = PromptOf(response.Started, response.PromptLogprobs) };
        foreach (Output output in response.Outputs)
        {
            transcript.Add(output.Index, output.Text, output.Tokens.Select(token => token.Id), output.Tokens.Select(token => $"{token}"));
            transcript.End(output.Index, EndOf(output.Finished));
        }
        return transcript.Answer();
    }

    /// <summary>Asks once and compares.</summary>
    public Task<Outcome> UnaryAsync(KnownRequest request, string id, TimeSpan? deadline, CancellationToken cancellation) => GuardAsync(
        async () => Outcome.OfAnswer(request.OverGrpc!, await AskAsync(request, id, cancellation, deadline is { } time ? DateTime.UtcNow + time : null)), null, cancellation);

    /// <summary>Reads a stream and compares; loses the connection and comes back so many times, each time after so many events.</summary>
    public Task<Outcome> StreamAsync(KnownRequest request, string id, IReadOnlyList<int> breaks, Random random, CancellationToken cancellation)
    {
        Counter losses = new();
        return GuardAsync(
            async () =>
            {
                Transcript seen = new(request.Outputs);
                foreach (int events in breaks)
                {
                    if (await ReadAsync(request, id, seen, events, losses, cancellation))
                        break;
                    await Task.Delay(random.Next(200), cancellation);
                }
                await ReadAsync(request, id, seen, int.MaxValue, losses, cancellation);
                return Outcome.OfAnswer(request.OverGrpc!, seen.Answer(), seen.Disorder);
            },
            losses, cancellation);
    }

    /// <summary>Leaves for good after so many events.</summary>
    public Task<Outcome> LeaveAsync(KnownRequest request, string id, int events, CancellationToken cancellation)
    {
        Counter losses = new();
        return GuardAsync(
            async () =>
            {
                Transcript seen = new(request.Outputs);
                bool whole = await ReadAsync(request, id, seen, events, losses, cancellation);
                return whole ? Outcome.OfAnswer(request.OverGrpc!, seen.Answer(), seen.Disorder) : Outcome.OfBeginning(request.OverGrpc!, seen);
            },
            losses, cancellation);
    }

    public void Dispose() => _channel.Dispose();

    /// <summary>Opens the stream, or goes on with it, and reads so many events. True where it has come to its end.</summary>
    private async Task<bool> ReadAsync(KnownRequest request, string id, Transcript seen, int events, Counter losses, CancellationToken cancellation)
    {
        if (seen.IsWhole)
            return true;
        using AsyncServerStreamingCall<GenerateEvent> call = seen.Seq == 0
            ? Inference.GenerateStream(request.Named(id), cancellationToken: cancellation)
            : Inference.ResumeStream(new ResumeStreamRequest { RequestId = id, AfterSeq = (ulong)seen.Seq }, cancellationToken: cancellation);
        while (await call.ResponseStream.MoveNext(cancellation))
        {
            Take(call.ResponseStream.Current, seen, losses);
            if (--events == 0)
                return false;
        }
        return true;
    }

    private static void Take(GenerateEvent happened, Transcript seen, Counter losses)
    {
        seen.Count((long)happened.Seq);
        switch (happened.EventCase)
        {
            case GenerateEvent.EventOneofCase.Started:
                seen.Prompt = PromptOf(happened.Started, []);
                break;
            case GenerateEvent.EventOneofCase.Delta:
                Delta delta = happened.Delta;
                if (delta.PromptLogprobs.Count > 0)
                    seen.Prompt += ReportOf(delta.PromptLogprobs);
                seen.Add(delta.OutputIndex, delta.Text, delta.Tokens.Select(token => token.Id), delta.Tokens.Select(token => $"{token}"));
                break;
            case GenerateEvent.EventOneofCase.Finished:
                seen.End(happened.Finished.OutputIndex, EndOf(happened.Finished));
                break;
            case GenerateEvent.EventOneofCase.Recovering:
                losses.Value++;
                break;
        }
    }

    private static string PromptOf(Started started, IReadOnlyList<TokenInfo> logprobs) => $"{started.PromptTokens} tokens: {string.Join(' ', started.PromptTokenIds)}" + ReportOf(logprobs);

    private static string ReportOf(IReadOnlyList<TokenInfo> logprobs) => logprobs.Count == 0 ? "" : " " + string.Join(' ', logprobs);

    private static string EndOf(Finished finished) => $"{new Finished(finished) { Usage = null, Timings = null }}";

    private static async Task<Outcome> GuardAsync(Func<Task<Outcome>> ask, Counter? losses, CancellationToken cancellation)
    {
        try
        {
            return await ask();
        }
        catch (RpcException fault) when (!cancellation.IsCancellationRequested)
        {
            string reason = fault.GetRpcStatus()?.GetDetail<ErrorInfo>()?.Reason ?? (fault.StatusCode == StatusCode.DeadlineExceeded ? "DEADLINE_EXCEEDED" : $"{fault.StatusCode}");
            return Outcome.OfFailure(reason, fault.Status.Detail, losses?.Value);
        }
    }

    private sealed class Counter
    {
        public int Value { get; set; }
    }
}
