using NUnit.Framework;
namespace TpServe.Kernels.Tests.Cuda;
public sealed class DumpTmp {
  [Test, Explicit] public void Dump() { Directory.CreateDirectory("/tmp/lptx"); foreach (OfflineKernel k in OfflineKernel.All) if (k.ToString().Contains("Product") || k.ToString().Contains("PackedAct")) { string n = k.ToString().Replace('<','_').Replace('>','_').Replace(", ","_").Replace('`','_'); if (n.Contains("CodedLayout")) n = k.Method.Name + "_" + k.Method.DeclaringType!.Name + "_" + string.Join("_", k.Method.GetGenericArguments().Select(t => t.IsGenericType ? string.Join("-", t.GetGenericArguments().Select(u => u.Name)) : t.Name)); File.WriteAllText($"/tmp/lptx/{n}.ptx", k.Ptx); } }
}
