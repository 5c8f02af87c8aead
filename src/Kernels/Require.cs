using System.Runtime.CompilerServices;

namespace TpServe.Kernels;

/// <summary>Checks of operands at the call; a message names the operand and both shapes.</summary>
internal static class Require
{
    /// <summary>The tensor has this shape and element type.</summary>
    public static void Shape(
        Tensor tensor, int rows, int columns, ElementType type = ElementType.Float32,
        [CallerArgumentExpression(nameof(tensor))] string name = "")
    {
        if (tensor.Rows != rows || tensor.Columns != columns || tensor.Type != type)
            throw new ArgumentException($"{name} is {tensor}, expected {rows} x {columns} {type}.", name);
    }

    /// <summary>The tensor has this element type.</summary>
    public static void Type(Tensor tensor, ElementType type, [CallerArgumentExpression(nameof(tensor))] string name = "")
    {
        if (tensor.Type != type)
            throw new ArgumentException($"{name} is {tensor}, expected elements of {type}.", name);
    }

    /// <summary>The columns are whole groups of <paramref name="group"/> values.</summary>
    public static void Groups(Tensor tensor, int group, [CallerArgumentExpression(nameof(tensor))] string name = "")
    {
        if (group <= 0 || tensor.Columns % group != 0)
            throw new ArgumentException($"{name} is {tensor}: its columns are not groups of {group}.", name);
    }

    /// <summary>The rows follow each other without gaps.</summary>
    public static void Contiguous(Tensor tensor, [CallerArgumentExpression(nameof(tensor))] string name = "")
    {
        if (!tensor.IsContiguous)
            throw new ArgumentException($"{name} is {tensor} with a row stride of {tensor.RowStride}, expected a contiguous tensor.", name);
    }

    /// <summary>A condition across operands holds; the message is put together only where it does not.</summary>
    public static void That(bool condition, [InterpolatedStringHandlerArgument(nameof(condition))] ref Otherwise message)
    {
        if (!condition)
            throw new ArgumentException(message.ToString());
    }

    /// <summary>An interpolated message that costs nothing while the condition holds.</summary>
    [InterpolatedStringHandler]
    public ref struct Otherwise
    {
        private DefaultInterpolatedStringHandler _text;

        /// <summary>The compiler calls this before the parts; they are skipped where <paramref name="wanted"/> is false.</summary>
        public Otherwise(int literalLength, int formattedCount, bool condition, out bool wanted)
        {
            wanted = !condition;
            _text = wanted ? new DefaultInterpolatedStringHandler(literalLength, formattedCount) : default;
        }

        /// <summary>A part of the text.</summary>
        public void AppendLiteral(string value) => _text.AppendLiteral(value);

        /// <summary>A value in the text.</summary>
        public void AppendFormatted<T>(T value) => _text.AppendFormatted(value);

        /// <inheritdoc/>
        public override string ToString() => _text.ToStringAndClear();
    }
}
