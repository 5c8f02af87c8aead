namespace TpServe.Checkpoint.Gguf;

/// <summary>A metadata value that lies checked in the file; decoded when it is asked for.</summary>
/// <param name="Type">Type of the value.</param>
/// <param name="Element">Of an array: type of its elements.</param>
/// <param name="Count">Of an array: its elements; else 1.</param>
/// <param name="Offset">Where its bytes begin (of a string or an array of strings: with the length).</param>
internal readonly record struct GgufValue(GgufType Type, GgufType Element, int Count, long Offset);
