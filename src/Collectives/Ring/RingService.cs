using System.Security.Cryptography;
using System.Text;
using Google.Protobuf;
using Grpc.Core;
using TpServe.Protos.Ring;
using RingProtocol = TpServe.Protos.Ring.Ring;

namespace TpServe.Collectives.Ring;

/// <summary>What peers ask of a rank: a ticket for their blocks, and the end of an epoch. The worker process maps it, as a single object, beside a <see cref="RingDoor"/>.</summary>
/// <remarks>Errors   as ring.proto says.</remarks>
/// <param name="mailboxes">Where this worker's rank takes its blocks.</param>
/// <param name="secret">The group's secret.</param>
public sealed class RingService(RingMailboxes mailboxes, string secret) : RingProtocol.RingBase
{
    /// <summary>The metadata entry that carries the secret.</summary>
    public const string SecretKey = "tpserve-secret";

    private const int LongestReason = 2048;
    private readonly byte[] _secret = Encoding.UTF8.GetBytes(secret);

    /// <inheritdoc/>
    public override Task<RingTicket> Join(RingHello request, ServerCallContext context)
    {
        ArgumentNullException.ThrowIfNull(request);
        CheckSecret(context);
        byte[] ticket = FindMailbox(request).TryIssue(request.FromRank, out string refusal) ?? throw Refuse(StatusCode.AlreadyExists, refusal);
        return Task.FromResult(new RingTicket { Ticket = ByteString.CopyFrom(ticket) });
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
