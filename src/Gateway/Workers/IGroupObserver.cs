using TpServe.Protos.V1;

namespace TpServe.Gateway.Workers;

/// <summary>Who is told how the group's life goes: the banner at the terminal, nobody in tests.</summary>
public interface IGroupObserver
{
    /// <summary>A rank's load advances; may come from any thread.</summary>
    void Loading(int rank, string stage, long doneBytes, long totalBytes);

    /// <summary>The group can run steps.</summary>
    void Ready(GetTopologyResponse topology);

    /// <summary>The epoch has ended; the group starts over.</summary>
    void Lost(long epoch, string reason);
}
