using System.Buffers.Binary;
using TpServe.Ptx.Text;

namespace TpServe.Ptx.Machine;

/// <summary>Puts a launch's arguments where the kernel's parameters are.</summary>
internal static class KernelArguments
{
    public static byte[] Place(FunctionText kernel, object[] args)
    {
        if (args.Length != kernel.Parameters.Count)
            throw new PtxException(PtxFault.Launch, $"{kernel.Name} has {kernel.Parameters.Count} parameters, the launch {args.Length} arguments.");
        byte[] bytes = new byte[kernel.Parameters.Count == 0 ? 0 : kernel.Parameters.Max(parameter => parameter.Offset + parameter.Bytes)];
        for (int i = 0; i < args.Length; i++)
        {
            Symbol parameter = kernel.Parameters[i];
            byte[] value = Bytes(args[i], parameter.Bytes) ?? throw new PtxException(PtxFault.Launch, $"{kernel.Name}: no argument may be a {args[i].GetType().Name}.");
            if (value.Length != parameter.Bytes)
                throw new PtxException(PtxFault.Launch, $"{kernel.Name}: {parameter.Name} has {parameter.Bytes} bytes, the argument {args[i]} has {value.Length}.");
            value.CopyTo(bytes, parameter.Offset);
        }
        return bytes;
    }

    private static byte[]? Bytes(object argument, int size) => argument switch
    {
        byte[] bytes => bytes,
        View view => ViewBytes(view, size),
        PtxBuffer buffer => BitConverter.GetBytes(buffer.Address),
        bool flag when size == 4 => BitConverter.GetBytes(flag ? 1 : 0),
        bool flag => [(byte)(flag ? 1 : 0)],
        byte value => [value],
        sbyte value => [(byte)value],
        short value => BitConverter.GetBytes(value),
        ushort value => BitConverter.GetBytes(value),
        Half value => BitConverter.GetBytes(value),
        int value => BitConverter.GetBytes(value),
        uint value => BitConverter.GetBytes(value),
        float value => BitConverter.GetBytes(value),
        long value => BitConverter.GetBytes(value),
        ulong value => BitConverter.GetBytes(value),
        double value => BitConverter.GetBytes(value),
        nint value => BitConverter.GetBytes((long)value),
        _ => null,
    };

    /// <summary>{pointer, length}; an ArrayView1D has its extent and its empty stride behind them.</summary>
    private static byte[] ViewBytes(View view, int size)
    {
        byte[] bytes = new byte[size > 16 ? Math.Min(size, 32) : 16];
        BinaryPrimitives.WriteInt64LittleEndian(bytes, view.Address);
        BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(8), view.Length);
        if (bytes.Length >= 24)
            BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(16), view.Length);
        return bytes;
    }
}
