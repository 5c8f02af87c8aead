namespace TpServe.Gateway.Engine;

/// <summary>A request's deadline came before its last token.</summary>
public sealed class DeadlineExceededException(string message) : Exception(message);
