namespace TpServe.Gateway.Adapters;

/// <summary>An adapter as requests and workers name it.</summary>
/// <param name="Id">Names it towards the workers; never used twice while the gateway lives, so that nothing computed with an adapter is taken for another's of its name.</param>
/// <param name="Name">What requests name it.</param>
/// <param name="Path">Its folder: the same on every worker's host.</param>
/// <param name="Digest">What tells its files from others.</param>
public sealed record ServedLora(int Id, string Name, string Path, string Digest);

/// <summary>Where an adapter is on its way.</summary>
internal enum LoraState
{
    /// <summary>The workers load it; no request finds it yet.</summary>
    Loading,

    /// <summary>Requests find it.</summary>
    Served,

    /// <summary>No request finds it any more; those that are on it go on.</summary>
    Leaving,
}
