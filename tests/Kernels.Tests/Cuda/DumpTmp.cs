using NUnit.Framework;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Tests.Cpu;
using TpServe.Testing;
using TpServe.Ptx;
namespace TpServe.Kernels.Tests.Cuda;
public sealed class DumpTmp {
  [Test, Explicit] public void Dump() { Directory.CreateDirectory("/tmp/lptx"); foreach (OfflineKernel k in OfflineKernel.All) if (k.ToString().Contains("Product") || k.ToString().Contains("PackedAct")) { string n = k.ToString().Replace('<','_').Replace('>','_').Replace(", ","_").Replace('`','_'); if (n.Contains("CodedLayout")) n = k.Method.Name + "_" + k.Method.DeclaringType!.Name + "_" + string.Join("_", k.Method.GetGenericArguments().Select(t => t.IsGenericType ? string.Join("-", t.GetGenericArguments().Select(u => u.Name)) : t.Name)); File.WriteAllText($"/tmp/lptx/{n}.ptx", k.Ptx); } }
  static void Show(string what, PtxRun r) { TestContext.Out.WriteLine($"{what}: loads {r.GlobalLoadBytes} B {r.GlobalLoadSectors} sectors ({r.GlobalLoadSectors*32.0/r.GlobalLoadBytes:F2}) stores {r.GlobalStoreBytes} B {r.GlobalStoreSectors*32.0/r.GlobalStoreBytes:F2}, bank {r.AverageBankConflict:F3} worst {r.WorstBankConflict}, mma {r.MmaInstructions} of {r.WarpInstructions}");
     foreach (PtxSite s in r.Sites.Where(s => s.Passes > s.IdealPasses || (s.Bytes > 0 && s.Sectors * 32 > 1.2 * s.Bytes && s.Executions > 20))) TestContext.Out.WriteLine($"   {s.Text} x{s.Executions} bytes {s.Bytes} sectors {s.Sectors} passes {s.Passes}/{s.IdealPasses}"); }
  [Test, Explicit] public void Counts() {
    foreach (WeightFormat f in new[]{WeightFormat.BF16, WeightFormat.Q4_K, WeightFormat.Q8_0}) foreach (int rows in new[]{1, 20, 128}) {
    using LinearInterpreter i = new([LinearWeights.Random(f, 128, 512, seed: 1)], InputLeaves.Whole(512));
    float[] x = Numbers.Uniform(rows*512, 2);
    if (rows < 100) { LinearPtxTests.Stream(i, f, x, rows); Show($"stream {f} {rows}", i.LastRun); } else { LinearPtxTests.Tiled(i, f, x, rows); Show($"tiled {f} {rows}", i.LastRun); } }
  }
  [Test, Explicit] public void Packing() {
    using CudaBackend b = new(CudaContext.Emulated());
    foreach (WeightFormat f in new[]{WeightFormat.BF16, WeightFormat.F32, WeightFormat.Q8_0, WeightFormat.Q4_K, WeightFormat.Q6_K}) { byte[] bytes = new byte[2048 * f.RowBytes(4096)]; LinearWeights lw = new(f, 2048, 4096, bytes);
      for (int t = 0; t < 3; t++) { var sw = Environment.CpuUsage.TotalTime; using PackedWeight w = b.PackWeight(lw, InputLeaves.Whole(4096)); TestContext.Out.WriteLine($"pack {f}: {(Environment.CpuUsage.TotalTime - sw).TotalMilliseconds:F1} cpu ms for {bytes.Length>>20} MiB"); } }
  }
  [Test, Explicit] public void Times() {
    using CudaBackend b = new(CudaContext.Emulated());
    foreach (WeightFormat f in new[]{WeightFormat.F32, WeightFormat.BF16, WeightFormat.Q4_K}) foreach (int rows in new[]{1, 16}) foreach (int outputs in new[]{64, 192, 512}) {
      using PackedWeight w = b.PackWeight(LinearWeights.Random(f, outputs, 256, seed: 1), InputLeaves.Whole(256));
      using DeviceTensors d = new(b);
      Tensor x = d.Of(Numbers.Uniform(rows*256, 2), rows, 256), y = d.Empty(rows, outputs);
      for (int t = 0; t < 3; t++) b.Linear(x, [w], y);
      b.Queue.Synchronize();
      var sw = System.Diagnostics.Stopwatch.StartNew();
      for (int t = 0; t < 10; t++) b.Linear(x, [w], y);
      b.Queue.Synchronize();
      TestContext.Out.WriteLine($"{f} rows {rows} outputs {outputs}: {sw.Elapsed.TotalMilliseconds/10:F2} ms");
    } }
}
