namespace TpServe.Collectives;

/// <summary>A group could not be formed over this transport: no room, no path to a peer, or data that arrived different from what was sent.</summary>
public sealed class TransportFailedException(string message) : GroupLostException(message);
