namespace TpServe.Fuzz;

/// <summary>One kind of input from outside, and what reads it.</summary>
internal abstract class FuzzTarget(string name) : IDisposable
{
    /// <summary>What it is called at the command line.</summary>
    public string Name => name;

    /// <summary>Right inputs.</summary>
    public abstract IReadOnlyList<byte[]> Seeds { get; }

    /// <summary>Words of its language.</summary>
    public virtual IReadOnlyList<string> Words => Mutator.Json;

    /// <summary>Whether it is a text.</summary>
    public virtual bool IsText => true;

    /// <summary>Bytes that any input may take, however small; beyond them 100 times its size.</summary>
    public virtual long FixedBytes => 256 << 10;

    /// <summary>Its part of a long run.</summary>
    public virtual int Share => 10;

    /// <summary>Reads an input: true = taken, false = refused as it should be. Any exception is a finding.</summary>
    public abstract bool Read(byte[] input);

    /// <summary>Bytes allocated so far for what is read.</summary>
    public virtual long Allocated() => GC.GetAllocatedBytesForCurrentThread();

    /// <summary>Nothing may be left of what was read; throws where something is.</summary>
    public virtual void Finish()
    {
    }

    /// <inheritdoc/>
    public abstract void Dispose();
}

/// <summary>What was read is neither taken nor refused as it should be.</summary>
internal sealed class FuzzFindingException(string message) : Exception(message);
