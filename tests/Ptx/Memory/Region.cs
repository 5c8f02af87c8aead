namespace TpServe.Ptx.Memory;

/// <summary>What is known of a byte of memory.</summary>
internal static class ByteState
{
    public const byte Outside = 0;
    public const byte Unwritten = 1;
    public const byte Written = 2;

    /// <summary>A cp.async will write it; nobody may touch it until its wait.</summary>
    public const byte InFlight = 3;
}

/// <summary>A piece of memory with the state of each byte: an allocation, a block's shared memory, a thread's local memory.</summary>
internal sealed class Region(string name, ulong address, int bytes, byte state)
{
    public string Name { get; } = name;

    /// <summary>The address of offset 0 in its space.</summary>
    public ulong Address { get; } = address;

    public byte[] Data { get; } = new byte[bytes];
    public byte[] State { get; } = Filled(bytes, state);

    /// <summary>The accesses of the present launch; null where races are not looked for.</summary>
    public ShadowMap? Shadow { get; set; }

    public bool IsReadOnly { get; init; }

    /// <summary>Marks bytes as part of a variable inside a region made Outside.</summary>
    public void Open(int offset, int bytes) => State.AsSpan(offset, bytes).Fill(ByteState.Unwritten);

    public void Write(int offset, ReadOnlySpan<byte> bytes)
    {
        bytes.CopyTo(Data.AsSpan(offset));
        State.AsSpan(offset, bytes.Length).Fill(ByteState.Written);
    }

    private static byte[] Filled(int bytes, byte state)
    {
        byte[] states = new byte[bytes];
        if (state != 0)
            states.AsSpan().Fill(state);
        return states;
    }
}
