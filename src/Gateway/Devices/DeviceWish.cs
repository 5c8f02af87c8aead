using System.Globalization;
using TpServe.Gateway.Settings;
using TpServe.Protos.Worker;

namespace TpServe.Gateway.Devices;

/// <summary>What --device asks for: the GPUs found else the CPU (unspecified), one kind of device, or a list that names the GPU of each rank.</summary>
/// <param name="Kind">Unspecified = auto.</param>
/// <param name="List">GPU of each rank; empty for the other forms.</param>
public sealed record DeviceWish(DeviceKind Kind, IReadOnlyList<GpuName> List)
{
    /// <summary>The GPUs found, else the CPU.</summary>
    public static DeviceWish Auto { get; } = new(DeviceKind.Unspecified, []);

    /// <summary>As it is written.</summary>
    public string Text => List.Count > 0 ? string.Join(',', List) : Words.Devices.Of(Kind);

    /// <summary>Whether the answer depends on which GPUs there are.</summary>
    public bool NeedsSurvey => Kind is DeviceKind.Unspecified or DeviceKind.Cuda;

    /// <summary>Reads the setting.</summary>
    public static bool TryParse(string text, out DeviceWish wish, out string? fault)
    {
        ArgumentNullException.ThrowIfNull(text);
        fault = null;
        if (Words.Devices.TryParse(text, out DeviceKind kind))
        {
            wish = new DeviceWish(kind, []);
            return true;
        }
        List<GpuName> list = [];
        foreach (string item in text.Split(','))
            if (GpuName.TryParse(item, out GpuName? name))
                list.Add(name);
            else
                fault ??= $"'{item}' is not cuda:ORDINAL or cuda:GPU-UUID; write auto, cpu, cuda, cuda-emulated, or one GPU for each worker as in cuda:0,cuda:1.";
        wish = new DeviceWish(DeviceKind.Cuda, list);
        return fault is null;
    }
}

/// <summary>One GPU by its ordinal in the worker's process, or by its uuid.</summary>
public sealed record GpuName
{
    private const string Prefix = "cuda:";
    private const string UuidPrefix = "GPU-";

    /// <summary>Null where the uuid names it.</summary>
    public int? Ordinal { get; private init; }

    /// <summary>"GPU-5c24…"; null where the ordinal names it.</summary>
    public string? Uuid { get; private init; }

    /// <summary>Reads cuda:0 or cuda:GPU-UUID.</summary>
    public static bool TryParse(string text, [System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out GpuName? name)
    {
        ArgumentNullException.ThrowIfNull(text);
        name = null;
        if (!text.StartsWith(Prefix, StringComparison.Ordinal))
            return false;
        string rest = text[Prefix.Length..];
        if (rest.StartsWith(UuidPrefix, StringComparison.OrdinalIgnoreCase) && Guid.TryParseExact(rest[UuidPrefix.Length..], "D", out _))
            name = new GpuName { Uuid = rest };
        else if (rest.Length is > 0 and <= 3 && int.TryParse(rest, NumberStyles.None, CultureInfo.InvariantCulture, out int ordinal))
            name = new GpuName { Ordinal = ordinal };
        return name is not null;
    }

    /// <summary>Whether it names this GPU.</summary>
    public bool Names(GpuFacts gpu)
    {
        ArgumentNullException.ThrowIfNull(gpu);
        return Uuid is null ? gpu.Ordinal == Ordinal : Uuid.Equals(gpu.Uuid, StringComparison.OrdinalIgnoreCase);
    }

    /// <inheritdoc/>
    public override string ToString() => Prefix + (Uuid ?? Ordinal?.ToString(CultureInfo.InvariantCulture));
}
