using ILGPU;
using ILGPU.Backends;
using ILGPU.Backends.EntryPoints;
using ILGPU.Runtime;
using ILGPU.Runtime.Cuda;

namespace TpServe.Kernels.Cuda.Device;

/// <summary>The backend's one stream: compiles kernels, launches them in call order, counts launches.</summary>
/// <remarks>
/// Public for rooms with kernels of their own, whose launches keep their place among the backend's: they load static methods that carry
/// <see cref="DeviceKernelAttribute"/>, and build them from <see cref="Intrinsics.DeviceMath"/> and <see cref="Intrinsics.SystemMemory"/>.
/// Threads   the rank's thread.
/// </remarks>
public sealed class CudaQueue : IDisposable
{
    private readonly CudaContext _context;

    /// <summary>Opens a stream of its own on the device.</summary>
    internal CudaQueue(CudaContext context)
    {
        _context = context;
        Stream = context.Accelerator.CreateStream();
    }

    /// <summary>The device.</summary>
    internal Accelerator Accelerator => _context.Accelerator;

    /// <summary>True where kernels run on ILGPU's CPU accelerator.</summary>
    public bool IsEmulated => _context.IsEmulated;

    /// <summary>The stream that everything is enqueued on.</summary>
    internal AcceleratorStream Stream { get; }

    /// <summary>Kernels launched so far.</summary>
    internal long Launches { get; private set; }

    /// <summary>True while the stream takes work into a graph instead of running it.</summary>
    internal bool IsRecording { get; set; }

    /// <summary>Zeroed device memory.</summary>
    /// <exception cref="DeviceMemoryException">The device has no such block.</exception>
    internal DeviceMemory Allocate(long bytes)
    {
        ForbidRecording("an allocation");
        try
        {
            DeviceMemory memory = new(Accelerator.Allocate1D<byte>(Math.Max(bytes, 1)));
            memory.View.MemSetToZero(Stream);
            return memory;
        }
        catch (AcceleratorException fault)
        {
            throw new DeviceMemoryException(Accelerator.Name, bytes, fault);
        }
    }

    /// <summary>Waits until everything enqueued has run.</summary>
    public void Synchronize()
    {
        ForbidRecording("waiting");
        Stream.Synchronize();
    }

    /// <summary>Refuses what a replay could not repeat.</summary>
    /// <exception cref="InvalidOperationException">The stream is recorded.</exception>
    internal void ForbidRecording(string operation)
    {
        if (IsRecording)
            throw new InvalidOperationException($"The stream is recorded: {operation} cannot be part of a graph.");
    }

    /// <summary>Counts launches that a graph made, or takes back those of a recording that failed.</summary>
    internal void CountLaunches(long launches) => Launches += launches;

    /// <summary>Closes the stream: its owner, the backend, does it.</summary>
    public void Dispose() => Stream.Dispose();

    /// <summary>Compiles a kernel of 2 arguments; the result launches it.</summary>
    public Action<KernelConfig, T1, T2> Load<T1, T2>(Action<T1, T2> kernel)
        where T1 : struct where T2 : struct
    {
        Action<AcceleratorStream, KernelConfig, T1, T2> launch = Compile<Action<AcceleratorStream, KernelConfig, T1, T2>>(kernel);
        return (config, t1, t2) =>
        {
            Launches++;
            launch(Stream, config, t1, t2);
        };
    }

    /// <summary>Compiles a kernel of 3 arguments; the result launches it.</summary>
    public Action<KernelConfig, T1, T2, T3> Load<T1, T2, T3>(Action<T1, T2, T3> kernel)
        where T1 : struct where T2 : struct where T3 : struct
    {
        Action<AcceleratorStream, KernelConfig, T1, T2, T3> launch = Compile<Action<AcceleratorStream, KernelConfig, T1, T2, T3>>(kernel);
        return (config, t1, t2, t3) =>
        {
            Launches++;
            launch(Stream, config, t1, t2, t3);
        };
    }

    /// <summary>Compiles a kernel of 4 arguments; the result launches it.</summary>
    public Action<KernelConfig, T1, T2, T3, T4> Load<T1, T2, T3, T4>(Action<T1, T2, T3, T4> kernel)
        where T1 : struct where T2 : struct where T3 : struct where T4 : struct
    {
        Action<AcceleratorStream, KernelConfig, T1, T2, T3, T4> launch = Compile<Action<AcceleratorStream, KernelConfig, T1, T2, T3, T4>>(kernel);
        return (config, t1, t2, t3, t4) =>
        {
            Launches++;
            launch(Stream, config, t1, t2, t3, t4);
        };
    }

    /// <summary>Compiles a kernel of 5 arguments; the result launches it.</summary>
    public Action<KernelConfig, T1, T2, T3, T4, T5> Load<T1, T2, T3, T4, T5>(Action<T1, T2, T3, T4, T5> kernel)
        where T1 : struct where T2 : struct where T3 : struct where T4 : struct where T5 : struct
    {
        Action<AcceleratorStream, KernelConfig, T1, T2, T3, T4, T5> launch = Compile<Action<AcceleratorStream, KernelConfig, T1, T2, T3, T4, T5>>(kernel);
        return (config, t1, t2, t3, t4, t5) =>
        {
            Launches++;
            launch(Stream, config, t1, t2, t3, t4, t5);
        };
    }

    /// <summary>Compiles a kernel of 6 arguments; the result launches it.</summary>
    public Action<KernelConfig, T1, T2, T3, T4, T5, T6> Load<T1, T2, T3, T4, T5, T6>(Action<T1, T2, T3, T4, T5, T6> kernel)
        where T1 : struct where T2 : struct where T3 : struct where T4 : struct where T5 : struct where T6 : struct
    {
        Action<AcceleratorStream, KernelConfig, T1, T2, T3, T4, T5, T6> launch = Compile<Action<AcceleratorStream, KernelConfig, T1, T2, T3, T4, T5, T6>>(kernel);
        return (config, t1, t2, t3, t4, t5, t6) =>
        {
            Launches++;
            launch(Stream, config, t1, t2, t3, t4, t5, t6);
        };
    }

    /// <summary>Compiles a kernel of 7 arguments; the result launches it.</summary>
    public Action<KernelConfig, T1, T2, T3, T4, T5, T6, T7> Load<T1, T2, T3, T4, T5, T6, T7>(Action<T1, T2, T3, T4, T5, T6, T7> kernel)
        where T1 : struct where T2 : struct where T3 : struct where T4 : struct where T5 : struct where T6 : struct where T7 : struct
    {
        Action<AcceleratorStream, KernelConfig, T1, T2, T3, T4, T5, T6, T7> launch = Compile<Action<AcceleratorStream, KernelConfig, T1, T2, T3, T4, T5, T6, T7>>(kernel);
        return (config, t1, t2, t3, t4, t5, t6, t7) =>
        {
            Launches++;
            launch(Stream, config, t1, t2, t3, t4, t5, t6, t7);
        };
    }

    /// <summary>Compiles a kernel of 8 arguments; the result launches it.</summary>
    public Action<KernelConfig, T1, T2, T3, T4, T5, T6, T7, T8> Load<T1, T2, T3, T4, T5, T6, T7, T8>(Action<T1, T2, T3, T4, T5, T6, T7, T8> kernel)
        where T1 : struct where T2 : struct where T3 : struct where T4 : struct where T5 : struct where T6 : struct where T7 : struct where T8 : struct
    {
        Action<AcceleratorStream, KernelConfig, T1, T2, T3, T4, T5, T6, T7, T8> launch = Compile<Action<AcceleratorStream, KernelConfig, T1, T2, T3, T4, T5, T6, T7, T8>>(kernel);
        return (config, t1, t2, t3, t4, t5, t6, t7, t8) =>
        {
            Launches++;
            launch(Stream, config, t1, t2, t3, t4, t5, t6, t7, t8);
        };
    }

    /// <summary>Compiles a kernel of 9 arguments; the result launches it.</summary>
    public Action<KernelConfig, T1, T2, T3, T4, T5, T6, T7, T8, T9> Load<T1, T2, T3, T4, T5, T6, T7, T8, T9>(Action<T1, T2, T3, T4, T5, T6, T7, T8, T9> kernel)
        where T1 : struct where T2 : struct where T3 : struct where T4 : struct where T5 : struct where T6 : struct where T7 : struct where T8 : struct where T9 : struct
    {
        Action<AcceleratorStream, KernelConfig, T1, T2, T3, T4, T5, T6, T7, T8, T9> launch = Compile<Action<AcceleratorStream, KernelConfig, T1, T2, T3, T4, T5, T6, T7, T8, T9>>(kernel);
        return (config, t1, t2, t3, t4, t5, t6, t7, t8, t9) =>
        {
            Launches++;
            launch(Stream, config, t1, t2, t3, t4, t5, t6, t7, t8, t9);
        };
    }

    /// <summary>Compiles a kernel of 10 arguments; the result launches it.</summary>
    public Action<KernelConfig, T1, T2, T3, T4, T5, T6, T7, T8, T9, T10> Load<T1, T2, T3, T4, T5, T6, T7, T8, T9, T10>(Action<T1, T2, T3, T4, T5, T6, T7, T8, T9, T10> kernel)
        where T1 : struct where T2 : struct where T3 : struct where T4 : struct where T5 : struct where T6 : struct where T7 : struct where T8 : struct where T9 : struct where T10 : struct
    {
        Action<AcceleratorStream, KernelConfig, T1, T2, T3, T4, T5, T6, T7, T8, T9, T10> launch = Compile<Action<AcceleratorStream, KernelConfig, T1, T2, T3, T4, T5, T6, T7, T8, T9, T10>>(kernel);
        return (config, t1, t2, t3, t4, t5, t6, t7, t8, t9, t10) =>
        {
            Launches++;
            launch(Stream, config, t1, t2, t3, t4, t5, t6, t7, t8, t9, t10);
        };
    }

    /// <summary>Compiles a kernel of 11 arguments; the result launches it.</summary>
    public Action<KernelConfig, T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11> Load<T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11>(Action<T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11> kernel)
        where T1 : struct where T2 : struct where T3 : struct where T4 : struct where T5 : struct where T6 : struct where T7 : struct where T8 : struct where T9 : struct where T10 : struct where T11 : struct
    {
        Action<AcceleratorStream, KernelConfig, T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11> launch = Compile<Action<AcceleratorStream, KernelConfig, T1, T2, T3, T4, T5, T6, T7, T8, T9, T10, T11>>(kernel);
        return (config, t1, t2, t3, t4, t5, t6, t7, t8, t9, t10, t11) =>
        {
            Launches++;
            launch(Stream, config, t1, t2, t3, t4, t5, t6, t7, t8, t9, t10, t11);
        };
    }

    private TLaunch Compile<TLaunch>(Delegate kernel) where TLaunch : Delegate
    {
        CompiledKernel compiled = Accelerator is CudaAccelerator gpu
            ? CompiledKernels.Compile(gpu.Backend, kernel.Method)
            : Accelerator.CompileKernel(EntryPointDescription.FromExplicitlyGroupedKernel(kernel.Method), DeviceKernelAttribute.LimitsOf(kernel.Method));
        return Accelerator.LoadKernel(compiled).CreateLauncherDelegate<TLaunch>();
    }
}
