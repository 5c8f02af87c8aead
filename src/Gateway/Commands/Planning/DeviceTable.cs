using System.Reflection;
using System.Text.Json;

namespace TpServe.Gateway.Commands.Planning;

/// <summary>What a data sheet says of a device, or a row of one's own.</summary>
/// <param name="Name">How files call it.</param>
/// <param name="IsGpu">cuda, else cpu.</param>
/// <param name="MemoryGiB">As the driver reports it.</param>
/// <param name="ReadGBs">Peak bandwidth of its memory.</param>
/// <param name="Bf16Tflops">Dense 16-bit products with float32 sums.</param>
/// <param name="Int8Tops">Dense 8-bit products: those of quantised weights.</param>
/// <param name="Fp32Tflops">float32 without tensor cores.</param>
/// <param name="LinkGBs">NVLink, each way; 0 = none.</param>
/// <param name="PcieGBs">PCIe, each way; 0 = none.</param>
/// <param name="PeerToPeer">Whether it opens the memory of another one.</param>
internal sealed record DeviceSheet(
    string Name, bool IsGpu, double MemoryGiB, double ReadGBs, double Bf16Tflops, double Int8Tops, double Fp32Tflops, double LinkGBs, double PcieGBs, bool PeerToPeer)
{
    /// <summary>How the figures came about.</summary>
    public string Basis { get; init; } = "";

    /// <summary>Where they are from.</summary>
    public IReadOnlyList<string> Sources { get; init; } = [];

    /// <summary>Reads a row; the table's own and those of a file have the same fields.</summary>
    public static DeviceSheet Read(JsonFields fields, string name, List<string> faults)
    {
        string kind = fields.Text("kind", "cuda");
        if (kind is not ("cuda" or "cpu"))
            fields.Fault("kind", $"'{kind}' is not one of cuda, cpu", 0);
        double bf16 = fields.Number("bf16Tflops", 0.001, 100_000);
        DeviceSheet sheet = new(
            name, kind == "cuda", fields.Number("memoryGiB", 0.1, 65_536), fields.Number("readGBs", 0.1, 1_000_000), bf16,
            fields.Number("int8Tops", 0.001, 100_000, fallback: bf16), fields.Number("fp32Tflops", 0.001, 100_000, fallback: bf16 / 8),
            fields.Number("linkGBs", 0, 100_000, fallback: 0), fields.Number("pcieGBs", 0, 10_000, fallback: kind == "cuda" ? 31.5 : 0), fields.Flag("peerToPeer", fallback: true))
        {
            Basis = fields.Text("basis", "as the file says", most: 400),
            Sources = [.. fields.List("sources", 0, 16, isNeeded: false).Select(source => source.Element.ValueKind == JsonValueKind.String ? source.Element.GetString()! : Refuse(source.Path))],
        };
        fields.End();
        return sheet;

        string Refuse(string path)
        {
            faults.Add($"{path}: is no text.");
            return "";
        }
    }
}

/// <summary>The common devices that ship with the program, as data with its sources.</summary>
internal static class DeviceTable
{
    private const string Resource = "TpServe.Gateway.device-table.json";

    /// <summary>All rows.</summary>
    public static IReadOnlyList<DeviceSheet> All { get; } = Load();

    /// <summary>The row of a name, in any case; null = there is none.</summary>
    public static DeviceSheet? Find(string name) => All.FirstOrDefault(sheet => sheet.Name.Equals(name, StringComparison.OrdinalIgnoreCase));

    private static List<DeviceSheet> Load()
    {
        using Stream stream = Assembly.GetExecutingAssembly().GetManifestResourceStream(Resource) ?? throw new InvalidOperationException($"{Resource} is not embedded");
        using JsonDocument document = JsonDocument.Parse(stream);
        List<string> faults = [];
        List<DeviceSheet> sheets = [];
        foreach ((JsonElement element, string path) in new JsonFields(document.RootElement, "", faults).List("devices", 1, 1000))
        {
            JsonFields fields = new(element, path, faults);
            sheets.Add(DeviceSheet.Read(fields, fields.Text("name"), faults));
        }
        return faults.Count == 0 ? sheets : throw new InvalidOperationException($"{Resource}: {string.Join(" ", faults)}");
    }
}
