namespace TpServe.Kernels.Cuda.Linear;

/// <summary>A table of <see cref="Cpu.Packing.NibbleTables"/> as four words of four signed bytes, the first value lowest.</summary>
internal interface ITableWords
{
    /// <summary>Values 0 to 3.</summary>
    static abstract uint Word0 { get; }

    /// <summary>Values 4 to 7.</summary>
    static abstract uint Word1 { get; }

    /// <summary>Values 8 to 11.</summary>
    static abstract uint Word2 { get; }

    /// <summary>Values 12 to 15.</summary>
    static abstract uint Word3 { get; }
}

/// <summary><see cref="Cpu.Packing.NibbleTables.NonLinear4"/>.</summary>
internal readonly struct NonLinear4Words : ITableWords
{
    /// <inheritdoc/>
    public static uint Word0 => 0xBFAD9881;

    /// <inheritdoc/>
    public static uint Word1 => 0xF6EADDCF;

    /// <inheritdoc/>
    public static uint Word2 => 0x26190D01;

    /// <inheritdoc/>
    public static uint Word3 => 0x71594535;
}

/// <summary><see cref="Cpu.Packing.NibbleTables.Float4"/>.</summary>
internal readonly struct Float4Words : ITableWords
{
    /// <inheritdoc/>
    public static uint Word0 => 0x03020100;

    /// <inheritdoc/>
    public static uint Word1 => 0x0C080604;

    /// <inheritdoc/>
    public static uint Word2 => 0xFDFEFF00;

    /// <inheritdoc/>
    public static uint Word3 => 0xF4F8FAFC;
}

/// <summary><see cref="Cpu.Packing.NibbleTables.TwoBits"/>.</summary>
internal readonly struct TwoBitsWords : ITableWords
{
    /// <inheritdoc/>
    public static uint Word0 => 0x002B1908;

    /// <inheritdoc/>
    public static uint Word1 => 0x00000000;

    /// <inheritdoc/>
    public static uint Word2 => 0x00D5E7F8;

    /// <inheritdoc/>
    public static uint Word3 => 0x00000000;
}

/// <summary><see cref="Cpu.Packing.NibbleTables.ThreeBits"/>.</summary>
internal readonly struct ThreeBitsWords : ITableWords
{
    /// <inheritdoc/>
    public static uint Word0 => 0x1C140C04;

    /// <inheritdoc/>
    public static uint Word1 => 0x3E342C24;

    /// <inheritdoc/>
    public static uint Word2 => 0xE4ECF4FC;

    /// <inheritdoc/>
    public static uint Word3 => 0xC2CCD4DC;
}

/// <summary><see cref="Cpu.Packing.NibbleTables.Odd"/>.</summary>
internal readonly struct OddWords : ITableWords
{
    /// <inheritdoc/>
    public static uint Word0 => 0x07050301;

    /// <inheritdoc/>
    public static uint Word1 => 0x0F0D0B09;

    /// <inheritdoc/>
    public static uint Word2 => 0xF9FBFDFF;

    /// <inheritdoc/>
    public static uint Word3 => 0xF1F3F5F7;
}

/// <summary><see cref="Cpu.Packing.NibbleTables.Shifted"/>.</summary>
internal readonly struct ShiftedWords : ITableWords
{
    /// <inheritdoc/>
    public static uint Word0 => 0x000901F9;

    /// <inheritdoc/>
    public static uint Word1 => 0x00000000;

    /// <inheritdoc/>
    public static uint Word2 => 0x0007FFF7;

    /// <inheritdoc/>
    public static uint Word3 => 0x00000000;
}
