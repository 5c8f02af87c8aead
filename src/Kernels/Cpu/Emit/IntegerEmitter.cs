using TpServe.Kernels.Cpu.Packing;
using static Iced.Intel.AssemblerRegisters;
using static TpServe.Kernels.Cpu.Emit.VectorAssembler;

namespace TpServe.Kernels.Cpu.Emit;

/// <summary>Quantised panels, 16 outputs: codes decoded once for all rows, exact integer dot products, one scale step a block.</summary>
/// <remarks>
/// A block has one part, or two where its halves have scales of their own or where the dots do not fit one sum. The wide families take both
/// parts in one pass over the codes; the narrow ones have registers for one, and what the first has given waits in scratch.
/// Registers wide: 0-7 sums of the first part, 8-15 of the second, 16-23 float sums, 24-28 codes and temporaries, 29-31 and what is free of 8-15
///           constants. Narrow: a sum per row and vector, then codes and temporaries, constants from 15 downwards.
/// </remarks>
internal sealed class IntegerEmitter : PanelEmitter
{
    private const int WideTemporaries = 24;
    private const int WideRaw = 25;
    private const int WideDots = 27;

    private readonly DotSequence _dots;
    private readonly PanelDecoder _decoder;
    private readonly int _parts;

    /// <summary>A kernel of a quantised format.</summary>
    public IntegerEmitter(InstructionFamily family, PanelFormat format, int rows, int groups)
        : base(family, format, rows, groups)
    {
        _dots = DotSequence.For(Vector, format.LargestCode);
        _decoder = new PanelDecoder(Vector, format, _dots.WantsSignedCodes, family.IsWide ? WideRaw : -1);
        _parts = format.Halves == 2 || (format.HasMinimum && _dots.NeedsTwoParts(format.LargestCode)) ? 2 : 1;
    }

    /// <inheritdoc/>
    public override CorrectionKind Correction => _dots.Correction;

    /// <inheritdoc/>
    protected override int RowBytes => 36 + (4 * Format.Halves);

    /// <inheritdoc/>
    protected override int UnitTemporaries => Temporary(0);

    private bool IsWide => Vector.Family.IsWide;

    private int VectorBytes => Vector.Family.VectorBytes;

    private int DotTemporaries => IsWide ? WideDots : Temporary(Vectors);

    private int ScaleAt => 32 * Rows;

    // Decoded once for several groups: codes that are not bytes already, scales that are not half floats.
    private bool SharesCodes => Groups > 1 && Format.Codes != CodeLayout.Bytes;

    private bool SharesScales => Groups > 1 && Format.Scales != ScaleLayout.Block;

    private int CorrectionAt(int half) => (36 + (4 * half)) * Rows;

    /// <inheritdoc/>
    protected override int Sum(int row, int part) => 16 + row;

    private int Integer(int row, int part, int vector) => IsWide ? (8 * part) + row : (Vectors * row) + vector;

    private int Temporary(int index) => (IsWide ? WideTemporaries : Vectors * Rows) + index;

    /// <inheritdoc/>
    protected override void ReserveConstants()
    {
        Vector.Reserve([.. _dots.Pins]);
        _decoder.Reserve(values: false);
    }

    /// <inheritdoc/>
    protected override void PinConstants()
    {
        IEnumerable<int> free = IsWide
            ? Enumerable.Range(29, 3).Concat(Enumerable.Range(8, _parts == 1 ? 8 : 0))
            : Enumerable.Range(0, 16).Reverse().TakeWhile(register => register >= Temporary(Math.Max(4, Vectors + _dots.Temporaries(Vectors))));
        foreach ((VectorConstant constant, int register) in _dots.Pins.Concat(_decoder.Pins).Distinct().Zip(free))
            Vector.Pin(constant, register);
    }

    /// <inheritdoc/>
    protected override void EmitUnitStart(int temporaries)
    {
        if (Format.Scales == ScaleLayout.SixBit)
            _decoder.SixBitScales(temporaries);
    }

    /// <inheritdoc/>
    protected override void EmitBlock()
    {
        if (SharesCodes)
            ShareCodes();
        if (SharesScales)
            ShareScales();
        ForEachGroup(EmitGroup);
    }

    private void ShareCodes()
    {
        foreach (CodeStep step in Format.Steps)
        {
            for (int v = 0; v < Vectors; v++)
            {
                _decoder.Codes(step, v, Temporary(0), Temporary(1));
                Vector.Store(At(r15, KernelScratch.Codes + (64 * step.K4) + (VectorBytes * v)), Temporary(0));
            }
        }
    }

    private void ShareScales()
    {
        foreach (BlockScale which in _decoder.BlockScales)
        {
            for (int v = 0; v < Vectors; v++)
            {
                _decoder.Scale(which, v, Temporary(0), Temporary(1));
                Vector.Store(At(r15, SharedScale(which, v)), Temporary(0));
            }
        }
    }

    private void EmitGroup()
    {
        if (IsWide || _parts == 1)
        {
            EmitDots(0, 8);
            for (int part = 0; part < _parts; part++)
                EmitEnd(part);
            return;
        }
        for (int part = 0; part < 2; part++)
        {
            EmitDots(4 * part, 4);
            EmitEnd(part);
        }
    }

    private void EmitDots(int firstK4, int count)
    {
        bool hasStart = !Format.HasMinimum && _dots.StartsCorrected;
        Span<bool> begun = [false, false];
        _decoder.Forget();
        foreach (CodeStep step in Format.Steps)
        {
            if (step.K4 < firstK4 || step.K4 >= firstK4 + count)
                continue;
            int part = _parts == 2 ? step.K4 >> 2 : 0;
            for (int v = 0; v < Vectors; v++)
            {
                if (SharesCodes)
                    Vector.Load(Temporary(v), At(r15, KernelScratch.Codes + (64 * step.K4) + (VectorBytes * v)));
                else
                    _decoder.Codes(step, v, Temporary(v), DotTemporaries);
            }
            for (int v = 0; v < Vectors; v++)
                _dots.Prepare(v, Temporary(v), DotTemporaries);
            for (int row = 0; row < Rows; row++)
            {
                int start = begun[part] ? -2 : hasStart ? CorrectionAt(Format.Halves == 2 ? part : 0) + (4 * row) : -1;
                _dots.Add(Integer(row, part, 0), Temporary(0), Vectors, DotTemporaries, (32 * row) + (4 * step.K4), start);
            }
            begun[part] = true;
        }
    }

    private void EmitEnd(int part)
    {
        bool isLast = part == _parts - 1;
        int scale = Temporary(0), minimum0 = Temporary(1), minimum1 = Temporary(2), factor = Temporary(3);
        for (int v = 0; v < Vectors; v++)
        {
            bool scales = isLast || Format.Halves == 2;
            if (scales)
                LoadScale(Format.Halves == 2 ? BlockScale.Scale0 + part : BlockScale.Scale0, v, scale, factor);
            if (isLast && Format.HasMinimum)
            {
                LoadScale(BlockScale.Minimum0, v, minimum0, factor);
                if (Format.Halves == 2)
                    LoadScale(BlockScale.Minimum1, v, minimum1, factor);
            }
            for (int row = 0; row < Rows; row++)
            {
                int sum = Integer(row, part, v);
                _dots.End(sum);
                if (isLast && _parts == 2 && Format.Halves == 1)
                    AddFirstPart(row, v, sum);
                if (scales)
                    Vector.Op(VectorOp.ToFloat, sum, sum);
                if (!isLast)
                    KeepFirstPart(row, v, sum, scale);
                else if (Format.Halves == 2)
                    AddHalves(row, v, sum, scale, minimum0, minimum1, factor);
                else
                    AddBlock(row, v, sum, scale, minimum0, factor);
            }
        }
    }

    private void KeepFirstPart(int row, int v, int sum, int scale)
    {
        if (Format.Halves == 2)
            Vector.Op(VectorOp.Multiply, sum, sum, scale);
        if (!IsWide)
            Vector.Store(Partial(row, v), sum);
    }

    private void AddFirstPart(int row, int v, int sum)
    {
        if (IsWide)
            Vector.Op(VectorOp.AddDwords, sum, sum, Integer(row, 0, v));
        else
            Vector.Op(VectorOp.AddDwords, sum, sum, Partial(row, v));
    }

    // acc = fma(float(sum), ws · as, acc), then acc = fma(wm, ±as · Σa, acc).
    private void AddBlock(int row, int v, int sum, int scale, int minimum, int factor)
    {
        int target = AddScaled(row, v, sum, scale, ScaleAt + (4 * row), factor);
        if (Format.HasMinimum)
            Vector.OpBroadcast(VectorOp.MultiplyAdd231, target, minimum, rsi, CorrectionAt(0) + (4 * row), factor);
        if (!IsWide)
            Vector.Store(Accumulator(row, v), target);
    }

    // t = fma(float(sum), w1, t) on the first half's t; acc = fma(t, as, acc), then both minima.
    private void AddHalves(int row, int v, int sum, int scale, int minimum0, int minimum1, int factor)
    {
        int target = sum;
        if (IsWide)
        {
            int halves = Integer(row, 0, v);
            target = Sum(row, v);
            Vector.Op(VectorOp.MultiplyAdd231, halves, sum, scale);
            Vector.OpBroadcast(VectorOp.MultiplyAdd231, target, halves, rsi, ScaleAt + (4 * row), factor);
        }
        else
        {
            Vector.Op(VectorOp.MultiplyAdd213, sum, scale, Partial(row, v));
            Vector.Broadcast(factor, rsi, ScaleAt + (4 * row));
            Vector.Op(VectorOp.MultiplyAdd213, sum, factor, Accumulator(row, v));
        }
        if (Format.HasMinimum)
        {
            Vector.OpBroadcast(VectorOp.MultiplyAdd231, target, minimum0, rsi, CorrectionAt(0) + (4 * row), factor);
            Vector.OpBroadcast(VectorOp.MultiplyAdd231, target, minimum1, rsi, CorrectionAt(1) + (4 * row), factor);
        }
        if (!IsWide)
            Vector.Store(Accumulator(row, v), target);
    }

    private void LoadScale(BlockScale which, int v, int target, int temporary)
    {
        if (SharesScales)
            Vector.Load(target, At(r15, SharedScale(which, v)));
        else
            _decoder.Scale(which, v, target, temporary);
    }

    private int SharedScale(BlockScale which, int v) => KernelScratch.Scales + (64 * (int)which) + (VectorBytes * v);

    private Iced.Intel.MemoryOperand Partial(int row, int v) => At(r15, KernelScratch.Partials + (64 * row) + (VectorBytes * v));
}
