using TpServe.Protos.Worker;

namespace TpServe.Gateway.Engine;

/// <summary>A token and, where asked for, what the model thought of it; ln p before temperature and filters.</summary>
public readonly record struct ReportedToken(int Id, TokenLogprobs? Logprobs);
