using System.Security.Cryptography;
using System.Text;
using Grpc.Core;
using TpServe.Protos.Ring;
using RingProtocol = TpServe.Protos.Ring.Ring;

namespace TpServe.Collectives.Ring;

/// <summary>The receiving side of the ring: puts each peer's blocks into the mailbox of their epoch. The worker process maps it, as a single object.</summary>
/// <remarks>Errors   as ring.proto says.</remarks>
/// <param name="mailboxes">Where this worker's rank takes its messages.</param>
/// <param name="secret">The group's secret.</param>
public sealed class RingService(RingMailboxes mailboxes, string secret) : RingProtocol.RingBase
{
    /// <summary>The metadata entry that carries the secret.</summary>
    public const string SecretKey = "tpserve-secret";

    private const int LongestReason = 2048;
    private static readonly TimeSpan s_helloTimeout = TimeSpan.FromSeconds(10);
    private readonly byte[] _secret = Encoding.UTF8.GetBytes(secret);

    /// <inheritdoc/>
    public override async Task Exchange(
        IAsyncStreamReader<RingMessage> requestStream, IServerStreamWriter<RingAccepted> responseStream, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(requestStream);
        ArgumentNullException.ThrowIfNull(responseStream);
        CheckSecret(context);
        RingHello hello = await ReadHello(requestStream, context.CancellationToken);
        RingMailbox mailbox = FindMailbox(hello);
        int peer = hello.FromRank;
        if (mailbox.TryAttach(peer) is { } refusal)
            throw Refuse(StatusCode.AlreadyExists, refusal);
        string? fault = "the call ended";
        try
        {
            await responseStream.WriteAsync(new RingAccepted(), context.CancellationToken);
            using CancellationTokenSource ended = CancellationTokenSource.CreateLinkedTokenSource(context.CancellationToken, mailbox.Ended);
            while (await requestStream.MoveNext(ended.Token))
            {
                RingBlock block = requestStream.Current.Block ?? throw Refuse(StatusCode.InvalidArgument, "after the hello, only blocks follow");
                await mailbox.DeliverAsync(peer, block, ended.Token);
            }
            fault = null;
        }
        catch (Exception broken) when (broken is IOException or OperationCanceledException or InvalidOperationException)
        {
            // The peer or its connection died, or the rank left long ago: the mailbox says it to whoever still waits, the call to the peer if it lives.
            fault = broken.Message;
            throw Refuse(StatusCode.Unavailable, broken.Message);
        }
        finally
        {
            mailbox.Detach(peer, fault);
        }
    }

    /// <inheritdoc/>
    public override Task<RingRevoked> Revoke(RingRevocation request, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(request);
        CheckSecret(context);
        string reason = request.Reason.Length > LongestReason ? request.Reason[..LongestReason] : request.Reason;
        AbortKind kind = request.Kind == RingAbortKind.Mismatch ? AbortKind.Mismatch : AbortKind.Revoked;
        mailboxes.Find(request.Epoch, out _)?.Abort(kind, reason);
        return Task.FromResult(new RingRevoked());
    }

    private void CheckSecret(ServerCallContext context)
    {
        string given = context.RequestHeaders.GetValue(SecretKey) ?? "";
        if (!CryptographicOperations.FixedTimeEquals(Encoding.UTF8.GetBytes(given), _secret))
            throw Refuse(StatusCode.PermissionDenied, $"the metadata entry {SecretKey} is missing or wrong");
    }

    private static async Task<RingHello> ReadHello(IAsyncStreamReader<RingMessage> messages, CancellationToken cancellation)
    {
        using CancellationTokenSource patience = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        patience.CancelAfter(s_helloTimeout);
        bool any = await messages.MoveNext(patience.Token);
        return (any ? messages.Current.Hello : null) ?? throw Refuse(StatusCode.InvalidArgument, "a stream begins with a hello");
    }

    private RingMailbox FindMailbox(RingHello hello)
    {
        RingMailbox? mailbox = mailboxes.Find(hello.Epoch, out bool isOver);
        if (mailbox is null)
            throw isOver
                ? Refuse(StatusCode.FailedPrecondition, $"epoch {hello.Epoch} is over")
                : Refuse(StatusCode.Unavailable, $"epoch {hello.Epoch} is not open yet");
        if (hello.ToRank != mailbox.Rank || hello.Degree != mailbox.Degree)
            throw Refuse(StatusCode.FailedPrecondition, $"this is rank {mailbox.Rank} of {mailbox.Degree}, not rank {hello.ToRank} of {hello.Degree}");
        return mailbox;
    }

    private static RpcException Refuse(StatusCode code, string reason) => new(new Status(code, reason));
}
