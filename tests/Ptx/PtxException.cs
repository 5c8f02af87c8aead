namespace TpServe.Ptx;

/// <summary>A PTX program that is wrong, or that did something wrong; the message names kernel, line, thread and address.</summary>
public sealed class PtxException(PtxFault fault, string message) : Exception(message)
{
    /// <summary>The kind of fault.</summary>
    public PtxFault Fault { get; } = fault;
}
