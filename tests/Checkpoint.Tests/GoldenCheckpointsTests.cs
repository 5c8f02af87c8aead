using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.Checkpoint.Tests;

public sealed class GoldenCheckpointsTests
{
    public static IEnumerable<string> Models() => Names("models", Directory.EnumerateDirectories);

    public static IEnumerable<string> GgufModels() => Names("gguf-models", folder => Directory.EnumerateFiles(folder, "*.gguf"));

    [TestCaseSource(nameof(Models))]
    [TestCaseSource(nameof(GgufModels))]
    public void Open_Golden_EveryTensorIsReadable(string relative)
    {
        using ModelCheckpoint checkpoint = ModelCheckpoints.Open(TestData.Find(relative)!);
        Assert.That(checkpoint.Tensors, Has.Count.GreaterThan(10));
        Assert.Multiple(() =>
        {
            foreach (TensorInfo tensor in checkpoint.Tensors.Values)
            {
                byte[] before = checkpoint.Bytes(tensor).ToArray();
                Assert.That(before, Has.Length.EqualTo(tensor.ByteCount), tensor.Name);
                checkpoint.Drop(tensor);
                Assert.That(checkpoint.Bytes(tensor).SequenceEqual(before), Is.True, tensor.Name);
                Assert.That(checkpoint.Bytes(tensor, 2, 3).SequenceEqual(before.AsSpan(2, 3)), Is.True, tensor.Name);
            }
        });
    }

    private static IEnumerable<string> Names(string folder, Func<string, IEnumerable<string>> list) =>
        new[] { TestData.Goldens is { } full ? Path.Combine(full, folder) : null, TestData.Local(folder) }
            .Where(root => root is not null && Directory.Exists(root))
            .SelectMany(root => list(root!))
            .Select(path => $"{folder}/{Path.GetFileName(path)}")
            .Distinct()
            .Order(StringComparer.Ordinal);
}
