namespace TpServe.Collectives;

/// <summary>The group is lost: base of everything a collective can die of.</summary>
public abstract class GroupLostException(string message) : Exception(message);
