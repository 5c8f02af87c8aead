namespace TpServe.Gateway.Devices;

/// <summary>The wanted devices are not to be had; names what was wanted and what there is. Ends the process at start.</summary>
public sealed class DeviceException(string message, string remedy) : Exception(message)
{
    /// <summary>The flag that would do: "--device cuda:0,cuda:0".</summary>
    public string Remedy { get; } = remedy;
}
