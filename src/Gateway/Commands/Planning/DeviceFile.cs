using System.Globalization;
using System.Text.Json;
using TpServe.Checkpoint;
using TpServe.Gateway.Settings;
using TpServe.Sharding;
using TpServe.Sharding.Planning;

namespace TpServe.Gateway.Commands.Planning;

/// <summary>The devices that a plan is made for, which need not be here.</summary>
/// <param name="Profiles">By device.</param>
/// <param name="Links">Of every pair.</param>
/// <param name="Hosts">Where each device is.</param>
/// <param name="Ordinals">Each device's number among those of its host.</param>
/// <param name="IsDerived">Whether some rate comes from a data sheet and not from a measurement.</param>
/// <param name="Notes">Where figures are from, a line a kind of device.</param>
internal sealed record PlannedDevices(
    IReadOnlyList<DeviceProfile> Profiles, LinkTable Links, IReadOnlyList<string> Hosts, IReadOnlyList<int> Ordinals, bool IsDerived, IReadOnlyList<string> Notes)
{
    /// <summary>Whether they are GPUs; a file has devices of one kind.</summary>
    public bool AreGpus => Profiles[0].Kind == "cuda";
}

/// <summary>Reads a file of devices: names of the table with counts, data sheets and measured profiles of one's own, links.</summary>
/// <remarks>Errors   <see cref="DeviceFileException"/> with every fault: its path in the file, the value and the limit; unknown fields are faults.</remarks>
internal static class DeviceFile
{
    private const int LargestBytes = 1 << 20;

    /// <summary>Reads and checks.</summary>
    /// <param name="path">The file.</param>
    /// <param name="gpuMemory">Share of a GPU's memory that may be used.</param>
    /// <param name="formats">Weight formats of the model.</param>
    /// <exception cref="DeviceFileException">It cannot be read, or says what cannot be.</exception>
    public static PlannedDevices Read(string path, double gpuMemory, IReadOnlyList<TensorType> formats)
    {
        byte[] bytes;
        if (RegularFile.Fault(path) is { } irregular)
            throw new DeviceFileException($"{path} {irregular}; a regular file is needed.");
        try
        {
            using FileStream file = File.OpenRead(path);
            if (file.Length > LargestBytes)
                throw new DeviceFileException(string.Create(CultureInfo.InvariantCulture, $"{path} has {file.Length} bytes; at most {LargestBytes} are read."));
            bytes = new byte[file.Length];
            file.ReadExactly(bytes);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException or ArgumentException)
        {
            throw new DeviceFileException($"{path} cannot be read: {fault.Message}");
        }
        return Parse(bytes, path, gpuMemory, formats);
    }

    /// <summary>The same from a file's bytes.</summary>
    public static PlannedDevices Parse(ReadOnlyMemory<byte> json, string file, double gpuMemory, IReadOnlyList<TensorType> formats)
    {
        JsonDocument document;
        try
        {
            document = JsonDocument.Parse(json, new JsonDocumentOptions { AllowDuplicateProperties = false, MaxDepth = 16 });
        }
        catch (JsonException fault)
        {
            throw new DeviceFileException($"{file} is no JSON: {fault.Message}");
        }
        using (document)
        {
            List<string> faults = [];
            JsonFields root = new(document.RootElement, "", faults);
            List<Entry> devices = [];
            foreach ((JsonElement element, string path) in root.List("devices", 1, Partition.MaxDegree))
                ReadEntry(element, path, gpuMemory, formats, devices, faults);
            if (devices.Count > Partition.MaxDegree)
                root.Fault("devices", $"{devices.Count} devices with their counts; at most {Partition.MaxDegree}", 0);
            if (devices.Select(device => device.Profile.Kind).Distinct().Count() > 1)
                root.Fault("devices", "cuda and cpu together; the ranks of a group compute on one kind", 0);
            LinkProfile? network = ReadNetwork(root);
            Dictionary<(int, int), LinkProfile> links = ReadLinks(root, devices.Count, faults);
            if (network is null && Missing(devices, links) is { } pair)
                root.Fault("network", $"is missing; devices {pair.First} and {pair.Second} are on hosts '{devices[pair.First].Host}' and '{devices[pair.Second].Host}'", 0);
            root.End();
            if (faults.Count > 0)
                throw new DeviceFileException($"{file}: {string.Join(" ", faults)}");
            LinkTable table = LinkTable.Of(devices.Count, (first, second) =>
                links.TryGetValue((first, second), out LinkProfile? link) ? link
                : devices[first].Host == devices[second].Host ? DerivedRates.Link(devices[first].Sheet, devices[second].Sheet)
                : network!);
            return new PlannedDevices(
                [.. devices.Select(device => device.Profile)], table, [.. devices.Select(device => device.Host)],
                [.. devices.Select((device, index) => devices.Take(index).Count(other => other.Host == device.Host))],
                devices.Exists(device => device.Sheet is not null) || links.Count < devices.Count * (devices.Count - 1) / 2,
                [.. devices.Where(device => device.Sheet is not null).Select(device => $"{device.Sheet!.Name}: {device.Sheet.Basis} ({string.Join(", ", device.Sheet.Sources.DefaultIfEmpty("your file"))})").Distinct()]);
        }
    }

    private static void ReadEntry(JsonElement element, string path, double gpuMemory, IReadOnlyList<TensorType> formats, List<Entry> devices, List<string> faults)
    {
        int before = faults.Count;
        JsonFields fields = new(element, path, faults);
        string name = fields.Text("name"), host = fields.Text("host", "host");
        int count = (int)fields.Whole("count", 1, Partition.MaxDegree, fallback: 1);
        double share = fields.Number("share", 0.001, 1, fallback: 1);
        DeviceSheet? sheet = null;
        DeviceProfile? measured = null;
        if (fields.Object("profile") is { } profile)
        {
            measured = ReadProfile(profile, name);
            if (fields.Has("sheet"))
                fields.Fault("sheet", "stands beside profile; a device has one of them", 0);
        }
        else if (fields.Object("sheet") is { } own)
            sheet = DeviceSheet.Read(own, name, faults);
        else if (DeviceTable.Find(name) is { } known)
            sheet = known;
        else if (name.Length > 0)
            fields.Fault("name", $"'{name}' is not in the table, and has neither sheet nor profile; the nearest is {Spelling.Nearest(name, DeviceTable.All.Select(row => row.Name))}. The table has {string.Join(", ", DeviceTable.All.Select(row => row.Name))}", 0);
        double memory = fields.Number("memoryGiB", 0.1, 65_536, fallback: sheet?.MemoryGiB ?? 0.1);
        if (fields.Has("memoryGiB") && measured is not null)
            fields.Fault("memoryGiB", "stands beside profile, which has memoryBytes", 0);
        fields.End();
        if (faults.Count > before || devices.Count > Partition.MaxDegree)
            return;
        sheet = sheet is null ? null : sheet with { MemoryGiB = memory };
        for (int i = 0; i < count; i++)
        {
            string number = string.Create(CultureInfo.InvariantCulture, $"{name} #{devices.Count}");
            devices.Add(new Entry(
                host, sheet, sheet is null ? measured! with { Name = number } : DerivedRates.Profile(sheet, number, share, gpuMemory, formats)));
        }
    }

    private static DeviceProfile? ReadProfile(JsonFields fields, string name)
    {
        string kind = fields.Text("kind", "cpu");
        if (kind is not ("cuda" or "cpu"))
            fields.Fault("kind", $"'{kind}' is not one of cuda, cpu", 0);
        Dictionary<TensorType, ProductCurve> products = [];
        if (fields.Object("products") is { } curves)
        {
            foreach ((string format, JsonElement value) in curves.All())
                if (!Enum.TryParse(format, ignoreCase: true, out TensorType type) || !Enum.IsDefined(type))
                    curves.Fault(format, $"no such weight format; there are {string.Join(", ", Enum.GetNames<TensorType>())}", 0);
                else if (ReadCurve(value) is { } curve)
                    products[type] = curve;
                else
                    curves.Fault(format, $"{JsonFields.Shown(value)} is no list of [rows, seconds a weight byte] with rows that ascend from 1 and seconds in 1E-16..1", 0);
            curves.End();
        }
        else
            fields.Fault("products", "is missing", 0);
        const double Least = 1e-18, Most = 1;
        DeviceProfile profile = new()
        {
            Name = name,
            Kind = kind,
            MemoryBytes = fields.Whole("memoryBytes", 1, 1L << 50),
            ReadBytesPerSecond = fields.Number("readBytesPerSecond", 1, 1e18),
            Products = products,
            DecodeAttentionSecondsPerByte = fields.Number("decodeAttentionSecondsPerByte", Least, Most),
            PrefillAttentionSecondsPerElement = fields.Number("prefillAttentionSecondsPerElement", Least, Most),
            ElementwiseSecondsPerFloat = fields.Number("elementwiseSecondsPerFloat", Least, Most),
            OperationSeconds = fields.Number("operationSeconds", 0, Most),
        };
        fields.End();
        return profile;
    }

    private static ProductCurve? ReadCurve(JsonElement value)
    {
        if (value.ValueKind != JsonValueKind.Array || value.GetArrayLength() is < 1 or > 64)
            return null;
        List<ProductPoint> points = [];
        foreach (JsonElement point in value.EnumerateArray())
        {
            if (point.ValueKind != JsonValueKind.Array || point.GetArrayLength() != 2 || point[0].ValueKind != JsonValueKind.Number || point[1].ValueKind != JsonValueKind.Number
                || !point[0].TryGetInt32(out int rows) || !point[1].TryGetDouble(out double seconds) || rows < 1 || !(seconds is >= 1e-16 and <= 1)
                || (points.Count > 0 && rows <= points[^1].Rows))
                return null;
            points.Add(new ProductPoint(rows, seconds));
        }
        return new ProductCurve(points);
    }

    private static LinkProfile? ReadNetwork(JsonFields root)
    {
        if (root.Object("network") is not { } fields)
            return null;
        LinkProfile network = DerivedRates.Network(fields.Number("latencyMicroseconds", 0, 1e7), fields.Number("gBs", 1e-6, 1e6));
        fields.End();
        return network;
    }

    private static Dictionary<(int, int), LinkProfile> ReadLinks(JsonFields root, int devices, List<string> faults)
    {
        Dictionary<(int, int), LinkProfile> links = [];
        foreach ((JsonElement element, string path) in root.List("links", 0, Partition.MaxDegree * Partition.MaxDegree, isNeeded: false))
        {
            JsonFields fields = new(element, path, faults);
            List<int> ends = [];
            foreach ((JsonElement end, string at) in fields.List("devices", 2, 2))
                if (end.ValueKind == JsonValueKind.Number && end.TryGetInt32(out int index) && index >= 0 && index < devices)
                    ends.Add(index);
                else
                    faults.Add(string.Create(CultureInfo.InvariantCulture, $"{at}: {JsonFields.Shown(end)} is no device in 0..{devices - 1}, counted with their counts."));
            const double Micro = 1e-6, Giga = 1e9;
            LinkProfile link = new(
                fields.Word("transport", Words.LinkTransports), fields.Number("latencyMicroseconds", 0, 1e7) * Micro,
                fields.Number("smallGBs", 1e-6, 1e6) * Giga, fields.Number("largeGBs", 1e-6, 1e6) * Giga);
            fields.End();
            if (ends.Count != 2)
                continue;
            if (ends[0] == ends[1])
                fields.Fault("devices", $"[{ends[0]}, {ends[1]}] is one device", 0);
            else if (!links.TryAdd((Math.Min(ends[0], ends[1]), Math.Max(ends[0], ends[1])), link))
                fields.Fault("devices", $"[{ends[0]}, {ends[1]}] has a link already", 0);
        }
        return links;
    }

    /// <summary>A pair on two hosts without a link of its own.</summary>
    private static (int First, int Second)? Missing(List<Entry> devices, Dictionary<(int, int), LinkProfile> links)
    {
        for (int first = 0; first < devices.Count; first++)
            for (int second = first + 1; second < devices.Count; second++)
                if (devices[first].Host != devices[second].Host && !links.ContainsKey((first, second)))
                    return (first, second);
        return null;
    }

    /// <param name="Host">Where it is.</param>
    /// <param name="Sheet">Null where it was measured.</param>
    /// <param name="Profile">What the planner takes.</param>
    private sealed record Entry(string Host, DeviceSheet? Sheet, DeviceProfile Profile);
}

/// <summary>A file of devices that cannot be used, with everything that is wrong with it.</summary>
internal sealed class DeviceFileException(string message) : Exception(message);
