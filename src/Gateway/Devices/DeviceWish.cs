namespace TpServe.Gateway.Devices;

/// <summary>What --device asks for: auto, cpu, cuda, cuda-emulated, or a list that names the GPU of each rank.</summary>
/// <param name="Text">As it was written.</param>
/// <param name="List">GPU of each rank, as "cuda:0" or "cuda:GPU-…"; empty for the other forms.</param>
internal sealed record DeviceWish(string Text, IReadOnlyList<string> List)
{
    /// <summary>The GPUs found, else the CPU.</summary>
    public const string Auto = "auto";

    /// <summary>The CPU.</summary>
    public const string Cpu = "cpu";

    /// <summary>The GPUs found.</summary>
    public const string Cuda = "cuda";

    /// <summary>The CUDA kernels on the CPU: very slow, a proof and not a way to serve.</summary>
    public const string Emulated = "cuda-emulated";

    private const string ItemPrefix = "cuda:";
    private const string UuidPrefix = "GPU-";

    /// <summary>Whether the answer depends on which GPUs there are.</summary>
    public bool NeedsSurvey => Text is Auto or Cuda || List.Count > 0;

    /// <summary>Reads the setting.</summary>
    public static bool TryParse(string text, out DeviceWish wish, out string? fault)
    {
        wish = new DeviceWish(text, []);
        fault = null;
        if (text is Auto or Cpu or Cuda or Emulated)
            return true;
        string[] items = text.Split(',');
        wish = new DeviceWish(text, items);
        foreach (string item in items)
            if (!IsItem(item))
                fault ??= $"'{item}' is not cuda:ORDINAL or cuda:GPU-UUID; write auto, cpu, cuda, cuda-emulated, or one GPU for each worker as in cuda:0,cuda:1.";
        return fault is null;
    }

    /// <summary>Reads a setting that was checked before.</summary>
    public static DeviceWish Parse(string text) => TryParse(text, out DeviceWish wish, out string? fault) ? wish : throw new FormatException(fault);

    /// <summary>Whether an item of the list names this GPU.</summary>
    public static bool Names(string item, int ordinal, string uuid)
    {
        string name = item[ItemPrefix.Length..];
        return name.StartsWith(UuidPrefix, StringComparison.OrdinalIgnoreCase)
            ? name.Equals(uuid, StringComparison.OrdinalIgnoreCase)
            : int.TryParse(name, System.Globalization.CultureInfo.InvariantCulture, out int number) && number == ordinal;
    }

    private static bool IsItem(string item)
    {
        if (!item.StartsWith(ItemPrefix, StringComparison.Ordinal))
            return false;
        string name = item[ItemPrefix.Length..];
        if (name.StartsWith(UuidPrefix, StringComparison.OrdinalIgnoreCase))
            return Guid.TryParseExact(name[UuidPrefix.Length..], "D", out _);
        return name.Length is > 0 and <= 3 && name.All(char.IsAsciiDigit);
    }
}
