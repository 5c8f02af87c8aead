namespace TpServe.Collectives.CudaIpc;

/// <summary>The memory of one rank of a group: its segment and its peers' as its device sees them, its own, and the words it shares with its host.</summary>
/// <remarks>Threads   the rank's thread; <see cref="Revoke"/> from any.</remarks>
internal unsafe interface IIpcMemory : IDisposable
{
    /// <summary>Channels and halves that the segments are cut into.</summary>
    IpcTuning Tuning { get; }

    /// <summary>Address of a rank's segment on this rank's device.</summary>
    long Segment(int rank);

    /// <summary>Address of the rank's own memory on its device, zeroed at the start.</summary>
    long State { get; }

    /// <summary>The host's words, as the host sees them.</summary>
    byte* Host { get; }

    /// <summary>The host's words, as the device sees them.</summary>
    long HostOnDevice { get; }

    /// <summary>Ends the epoch for kernels of this rank and of every peer that can be reached, whether or not one of this rank is running.</summary>
    void Revoke(int abortWord);

    /// <summary>Says on every peer that this rank reads and writes nothing any more, and closes the views of their segments. No kernel of the rank runs.</summary>
    /// <param name="leftWord">What a peer that still waits for this rank is told.</param>
    void Leave(int leftWord);
}
