using TpServe.Checkpoint.Config;

namespace TpServe.Checkpoint;

/// <summary>An opened model: facts read and checked, weights mapped but not read.</summary>
/// <remarks>
/// Threads  immutable after opening; any thread may read.
/// Errors   <see cref="ModelLoadException"/> naming file, thing, value and limit for everything wrong with the files.
/// </remarks>
public abstract class ModelCheckpoint : IDisposable
{
    /// <summary>The file or folder it was opened from.</summary>
    public abstract string Path { get; }

    /// <summary>The name clients call the model by: the folder's or file's name without its ending.</summary>
    public abstract string Name { get; }

    /// <summary>Architecture and sizes.</summary>
    public abstract ModelConfig Config { get; }

    /// <summary>Sampling defaults and end-of-sequence ids.</summary>
    public abstract GenerationDefaults Generation { get; }

    /// <summary>How its hidden states become the vector of a text.</summary>
    public virtual PoolingConfig Pooling => PoolingConfig.Default;

    /// <summary>What in the files was passed over or decided between, a sentence each, for people.</summary>
    public virtual IReadOnlyList<string> Warnings => [];

    /// <summary>The tokenizer's raw material.</summary>
    /// <exception cref="InvalidOperationException">The model was opened without it.</exception>
    public abstract TokenizerFiles Tokenizer { get; }

    /// <summary>All tensors by their Hugging Face name, a quantised matrix of several as one (its parts are read by themselves); none where TpServe does not know the architecture.</summary>
    public abstract IReadOnlyDictionary<string, TensorInfo> Tensors { get; }

    /// <summary>The mapped bytes of a tensor, row-major, outermost dimension first.</summary>
    /// <exception cref="ModelLoadException">The tensor is larger than a span can be (2 GiB): read it in parts.</exception>
    public abstract ReadOnlySpan<byte> Bytes(TensorInfo tensor);

    /// <summary>Part of a tensor's mapped bytes; the way to read a tensor of 2 GiB or more.</summary>
    public virtual ReadOnlySpan<byte> Bytes(TensorInfo tensor, long start, int count) => Bytes(tensor).Slice(checked((int)start), count);

    /// <summary>Tells the system that a tensor's mapped pages are not needed any more; reading them again is slow, not wrong.</summary>
    public abstract void Drop(TensorInfo tensor);

    /// <summary>The same of part of its bytes.</summary>
    public virtual void Drop(TensorInfo tensor, long start, int count)
    {
    }

    /// <summary>Tells the system that part of a tensor's bytes is read soon, so that the disk is read in large pieces while what came first is worked on.</summary>
    public virtual void Expect(TensorInfo tensor, long start, long count)
    {
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Dispose(true);
        GC.SuppressFinalize(this);
    }

    /// <summary>Unmaps the files.</summary>
    protected abstract void Dispose(bool disposing);
}

/// <summary>A model cannot be loaded: the process ends at start. The message names file or tensor, what was expected and what was found.</summary>
public sealed class ModelLoadException : Exception
{
    /// <summary>A load failure with its reason.</summary>
    public ModelLoadException(string message) : base(message) { }

    /// <summary>A load failure with the fault that caused it.</summary>
    public ModelLoadException(string message, Exception inner) : base(message, inner) { }
}
