using TpServe.Protos.Worker;

namespace TpServe.Gateway.Commands.Doctor;

/// <summary>What an external worker said when it was asked; or, where <paramref name="Reply"/> is null, why it said nothing.</summary>
internal sealed record WorkerAnswer(string Address, HelloReply? Reply, string Fault);
