using System.Diagnostics;
using System.Globalization;
using System.Text.Json;
using TpServe.Collectives.Local;
using TpServe.Collectives.Tests.CudaIpc;
using TpServe.Kernels;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Cuda.Device;

namespace TpServe.Benchmarks.Gpu;

/// <summary>One GPU, one table: kernels against the oracle, whole-model speed against the card's own copy and matmul rates, transformers beside it.</summary>
/// <remarks>
/// Usage    gpu [cuda:N|cuda-emulated] [peer.json]; peer.json is what peers/transformers_llama.py printed on the same card. gpu.sh runs all of it in one call.
///          "cuda-emulated" runs the same code on ILGPU's CPU accelerator at tiny sizes: it proves the script, its times mean nothing.
/// Targets  decode of one row at 70 % of the copy bandwidth, of 32 rows at 50 %, a prompt of 2048 tokens at 40 % of the matmul rate, a sum of 16 KB in 15 µs.
/// </remarks>
internal static class GpuBench
{
    /// <summary>Prints the table; 1 where a target is missed.</summary>
    public static int Run(string[] arguments)
    {
        string name = arguments.Length > 0 ? arguments[0] : "cuda:0";
        bool emulated = name == "cuda-emulated";
        Dictionary<string, double> peer = arguments.Length > 1 ? ReadPeer(arguments[1]) : [];
        Table table = new();
        CudaContext context = emulated ? CudaContext.Emulated() : CudaContext.Open(int.Parse(name.AsSpan("cuda:".Length), CultureInfo.InvariantCulture));
        using CudaBackend device = new(context);
        table.Add("device", device.Description);

        double copy = CopyBytesPerSecond(device, emulated ? 1 << 16 : 1L << 31);
        table.Add("copy, bytes read and written", string.Create(CultureInfo.InvariantCulture, $"{copy / 1e9:F0} GB/s"));
        foreach ((string key, double value) in peer)
            table.Add($"torch: {key}", value.ToString("G4", CultureInfo.InvariantCulture));

        using (KernelChecks checks = new(device, hidden: emulated ? 64 : 4096, rows: emulated ? 2 : 33, table))
            checks.Run();
        MeasureModel(device, emulated, copy, peer, table);
        if (!emulated)
            MeasureAllReduce(int.Parse(name.AsSpan("cuda:".Length), CultureInfo.InvariantCulture), table);
        table.Print();
        return table.Missed == 0 ? 0 : 1;
    }

    private static void MeasureModel(CudaBackend device, bool emulated, double copy, Dictionary<string, double> peer, Table table)
    {
        (int context, int prompt, int warmUp, int steps) = emulated ? (32, 48, 1, 2) : (512, 2048, 8, 48);
        using SingleRank comm = new(1, device);
        using ModelTimes model = new(emulated ? SyntheticLlama.Tiny : SyntheticLlama.Llama8B, device, comm, maxRows: 32, contextTokens: Math.Max(context, prompt));
        table.Add("weights", string.Create(CultureInfo.InvariantCulture, $"{model.WeightBytes / 1e9:F2} GB packed in {model.LoadSeconds:F1} s"));
        foreach ((int rows, double share) in new[] { (1, 0.7), (32, 0.5) })
        {
            long launches = device.Launches;
            List<double> seconds = model.Decode(rows, context, warmUp, steps);
            double bandwidth = model.DecodeBytes(rows, context) / Table.Median(seconds);
            table.Add($"decode, {rows} rows, context {context}", Table.Spread(seconds, 1e3, "ms"));
            table.Add($"decode, {rows} rows: kernels a step", ((device.Launches - launches) / (warmUp + steps)).ToString(CultureInfo.InvariantCulture));
            string rate = string.Create(CultureInfo.InvariantCulture, $"{bandwidth / 1e9:F0} GB/s, {bandwidth / copy:P0} of copy");
            if (emulated)
                table.Add($"decode, {rows} rows: bandwidth", rate);
            else
                table.Add($"decode, {rows} rows: bandwidth", rate, string.Create(CultureInfo.InvariantCulture, $">= {share:P0}"), bandwidth >= share * copy);
            Beside(table, $"decode, {rows} rows", seconds, peer, $"decode{rows}_seconds");
        }

        List<double> prefill = model.Prefill(prompt, emulated ? 0 : 3, emulated ? 1 : 8);
        double flops = model.PrefillFlops(prompt) / Table.Median(prefill);
        table.Add($"prefill, {prompt} tokens", Table.Spread(prefill, 1e3, "ms"));
        if (peer.TryGetValue("matmul_tflops", out double matmul))
            table.Add($"prefill, {prompt} tokens: rate", string.Create(CultureInfo.InvariantCulture, $"{flops / 1e12:F0} TFLOP/s, {flops / 1e12 / matmul:P0} of matmul"), ">= 40 %", flops / 1e12 >= 0.4 * matmul);
        else
            table.Add($"prefill, {prompt} tokens: rate", string.Create(CultureInfo.InvariantCulture, $"{flops / 1e12:F3} TFLOP/s; no matmul rate to compare with"));
        Beside(table, $"prefill, {prompt} tokens", prefill, peer, "prefill_seconds");
    }

    /// <summary>Two ranks as streams of the one card: the protocol's cost, without the way between two cards.</summary>
    private static void MeasureAllReduce(int ordinal, Table table)
    {
        using OneCardGroup group = new(ordinal, degree: 2);
        foreach ((int columns, bool target) in new[] { (576, false), (4096, true), (1 << 20, false) })
        {
            List<double> microseconds = [.. Enumerable.Range(0, 5).Select(_ => group.Time(columns, times: 200))];
            string what = string.Create(CultureInfo.InvariantCulture, $"all-reduce of {columns * sizeof(float) / 1024.0:F0} KB, 2 ranks on this card");
            if (target)
                table.Add(what, Table.Spread(microseconds, 1, "us"), "<= 15 us", Table.Median(microseconds) <= 15);
            else
                table.Add(what, Table.Spread(microseconds, 1, "us"));
        }
    }

    private static void Beside(Table table, string what, List<double> seconds, Dictionary<string, double> peer, string key)
    {
        if (peer.TryGetValue(key, out double theirs))
            table.Add($"{what}: transformers / TpServe", string.Create(CultureInfo.InvariantCulture, $"{theirs / Table.Median(seconds):F2} (above 1 = TpServe is faster)"));
    }

    private static double CopyBytesPerSecond(CudaBackend device, long bytes)
    {
        int columns = 1 << 14, rows = (int)Math.Max(1, bytes / 4 / columns);
        using DeviceBuffer from = device.Allocate(4L * rows * columns), to = device.Allocate(4L * rows * columns);
        Tensor source = new(from, 0, rows, columns, columns, ElementType.Float32), target = new(to, 0, rows, columns, columns, ElementType.Float32);
        float[] corner = new float[1];
        List<double> seconds = [];
        for (int i = 0; i < 8; i++)
        {
            long start = Stopwatch.GetTimestamp();
            device.Copy(source, target);
            device.Download<float>(target.RowSlice(0, 1).ColumnSlice(0, 1), corner);
            seconds.Add(Stopwatch.GetElapsedTime(start).TotalSeconds);
        }
        return 2.0 * 4 * rows * columns / seconds.Min();
    }

    private static Dictionary<string, double> ReadPeer(string file)
    {
        using JsonDocument json = JsonDocument.Parse(File.ReadLines(file).Last(line => line.StartsWith('{')));
        return json.RootElement.EnumerateObject().Where(entry => entry.Value.ValueKind == JsonValueKind.Number).ToDictionary(entry => entry.Name, entry => entry.Value.GetDouble());
    }
}
