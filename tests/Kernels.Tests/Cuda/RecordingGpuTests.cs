using NUnit.Framework;
using TpServe.Kernels.Cuda;
using TpServe.Kernels.Cuda.Driver;
using TpServe.Testing;

namespace TpServe.Kernels.Tests.Cuda;

/// <summary>A CUDA graph recorded and replayed on a real GPU.</summary>
[Category("Gpu")]
public sealed class RecordingGpuTests
{
    [Test]
    public void Recorded_ContentChanges_ReplaysOnTheNewContent()
    {
        using CudaBackend backend = Open();
        using DeviceTensors tensors = new(backend);
        const int n = 4, columns = 1000;
        Tensor x = tensors.Empty(n, columns), w = tensors.Of(Numbers.Uniform(columns, seed: 1), 1, columns), y = tensors.Empty(n, columns);
        for (int call = 0; call < 5; call++)
        {
            float[] values = Numbers.Uniform(n * columns, seed: 10 + call);
            backend.Upload<float>(values, x);
            long before = backend.Launches;
            Tensor replayed = backend.Recorded(new RecordingKey(n, 1, 1), () => Work(backend, x, w));
            Assert.That(backend.Launches - before, Is.EqualTo(4));
            backend.Copy(replayed, y);
            backend.Release(0);
            float[] actual = tensors.Values(y);
            backend.Upload<float>(values, x);
            backend.Copy(Work(backend, x, w), y);
            backend.Release(0);
            Assert.That(actual, Is.EqualTo(tensors.Values(y)), $"call {call}");
        }
        Assert.That(backend.RecordingFault, Is.Null);
        Assert.That(backend.GraphLaunches, Is.EqualTo(4));
        tensors.CheckGuards();
    }

    [Test]
    public void Recorded_WorkThatWaits_RunsAsItIsAndTheStreamGoesOn()
    {
        using CudaBackend backend = Open();
        using DeviceTensors tensors = new(backend);
        Tensor x = tensors.Of([1, 2, 3, 4], 1, 4);
        for (int call = 1; call <= 3; call++)
        {
            float[] seen = backend.Recorded(new RecordingKey(1, 1, 1), () =>
            {
                backend.Scale(x, 2f);
                float[] values = new float[4];
                backend.Download(x, values);
                return values;
            });
            Assert.That(seen[0], Is.EqualTo(1 << call), "what was recorded in vain did not run");
        }
        Assert.That(backend.RecordingFault, Does.Contain("a download"));
        Assert.That(backend.GraphLaunches, Is.Zero);
    }

    /// <summary>Four launches on scratch of its own.</summary>
    private static Tensor Work(CudaBackend backend, Tensor x, Tensor w)
    {
        Tensor a = backend.Rent(x.Rows, x.Columns), b = backend.Rent(x.Rows, x.Columns);
        backend.Copy(x, a);
        backend.Scale(a, 0.5f);
        backend.AddScaled(x, a, 0.25f);
        backend.RmsNorm(x, w, 1e-5f, b);
        return b;
    }

    private static CudaBackend Open()
    {
        if (!CudaDevices.HasGpu)
            Assert.Ignore("the machine has no GPU that the driver finds");
        return CudaDevices.Open("gpu");
    }
}
