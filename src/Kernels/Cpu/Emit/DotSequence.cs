using static Iced.Intel.AssemblerRegisters;

namespace TpServe.Kernels.Cpu.Emit;

/// <summary>How exact sums of products of codes and 8-bit activations are taken: the one thing in which the families' integer kernels differ.</summary>
/// <remarks>
/// A part is a run of steps whose products are added in one register per row and vector; when it ends, each lane holds the exact int32 sum of
/// its output. A correction for the codes' offset is where a sum starts, so that it is the signed sum from the beginning.
/// </remarks>
internal abstract class DotSequence(VectorAssembler vector)
{
    /// <summary>The code being written.</summary>
    protected VectorAssembler Vector { get; } = vector;

    /// <summary>Codes are wanted as signed bytes.</summary>
    public virtual bool WantsSignedCodes => false;

    /// <summary>What the activation tile holds for a format with an offset.</summary>
    public abstract CorrectionKind Correction { get; }

    /// <summary>A sum begins at that correction.</summary>
    public virtual bool StartsCorrected => true;

    /// <summary>Temporaries beside one register of codes a vector.</summary>
    public abstract int Temporaries(int vectors);

    /// <summary>Constants worth a register.</summary>
    public virtual IEnumerable<VectorConstant> Pins => [];

    /// <summary>True where the products of a block cannot be added in one part.</summary>
    public virtual bool NeedsTwoParts(int largestCode) => false;

    /// <summary>Once for the codes of a vector that <see cref="Add"/> meets next.</summary>
    public virtual void Prepare(int part, int codes, int temporaries)
    {
    }

    /// <summary>sums[v] += products of codes[v] and four activations in every lane, for a row's vectors.</summary>
    /// <param name="sums">First of the row's sums.</param>
    /// <param name="codes">First of the codes.</param>
    /// <param name="vectors">Vectors of a panel.</param>
    /// <param name="temporaries">First temporary.</param>
    /// <param name="activations">Offset from rsi of the four activations.</param>
    /// <param name="start">Offset from rsi of the correction where this is a part's first step and there is one; −1: a first step without; −2: a later step.</param>
    public abstract void Add(int sums, int codes, int vectors, int temporaries, int activations, int start);

    /// <summary>Turns a part's sum into int32.</summary>
    public virtual void End(int sum)
    {
    }

    /// <summary>The sequence of a family for codes up to <paramref name="largestCode"/>.</summary>
    public static DotSequence For(VectorAssembler vector, int largestCode)
    {
        if (vector.Family.HasVnni)
            return new VnniDots(vector);
        // Pairs of products up to 2 · 127 · 63 fit 16 bits; of larger codes only those of the signed value do: 2 · 127 · 128.
        return largestCode > 63 ? new SignDots(vector) : new PairDots(vector);
    }
}

/// <summary>VPDPBUSD: unsigned codes, int32 sums.</summary>
internal sealed class VnniDots(VectorAssembler vector) : DotSequence(vector)
{
    /// <inheritdoc/>
    public override CorrectionKind Correction => CorrectionKind.Sum;

    /// <inheritdoc/>
    public override int Temporaries(int vectors) => 1;

    /// <inheritdoc/>
    public override void Add(int sums, int codes, int vectors, int temporaries, int activations, int start)
    {
        for (int v = 0; v < vectors && start != -2; v++)
        {
            if (start == -1)
                Vector.Clear(sums + v);
            else if (v == 0)
                Vector.Broadcast(sums, rsi, start);
            else
                Vector.Move(sums + v, sums);
        }
        if (vectors == 1)
        {
            Vector.OpBroadcast(VectorOp.DotBytes, sums, codes, rsi, activations, temporaries);
            return;
        }
        Vector.Broadcast(temporaries, rsi, activations);
        for (int v = 0; v < vectors; v++)
            Vector.Op(VectorOp.DotBytes, sums + v, codes + v, temporaries);
    }
}

/// <summary>VPMADDUBSW and VPADDW: unsigned codes up to 63, sums of pairs in 16 bits, widened once a part.</summary>
/// <remarks>
/// 16-bit sums may wrap on the way: VPADDW is modular, so only the final sum of a lane must fit, and started at −bias · Σa it is at most
/// bias · 127 · (inputs / 2): 16 · 127 · 16 and 32 · 127 · 8 are 32,512. Codes without an offset add up to code · 127 · (inputs / 2): up to 15 a block
/// is one part, up to 31 two.
/// </remarks>
internal sealed class PairDots(VectorAssembler vector) : DotSequence(vector)
{
    /// <inheritdoc/>
    public override CorrectionKind Correction => CorrectionKind.PairSums;

    /// <inheritdoc/>
    public override int Temporaries(int vectors) => vectors;

    /// <inheritdoc/>
    public override IEnumerable<VectorConstant> Pins => [VectorConstant.OneWords];

    /// <inheritdoc/>
    public override bool NeedsTwoParts(int largestCode) => largestCode * 127 * 16 > short.MaxValue;

    /// <inheritdoc/>
    public override void Add(int sums, int codes, int vectors, int temporaries, int activations, int start)
    {
        Vector.Broadcast(temporaries, rsi, activations);
        int startAt = sums + vectors - 1;
        if (start >= 0)
            Vector.Broadcast(startAt, rsi, start);
        for (int v = 0; v < vectors; v++)
        {
            // The last product may overwrite the activations.
            int product = start == -1 ? sums + v : v == vectors - 1 ? temporaries : temporaries + 1;
            Vector.Op(VectorOp.MultiplyAddBytes, product, codes + v, temporaries);
            if (start != -1)
                Vector.Op(VectorOp.AddWords, sums + v, start >= 0 ? startAt : sums + v, product);
        }
    }

    /// <inheritdoc/>
    public override void End(int sum) => Vector.Op(VectorOp.MultiplyAddWords, sum, sum, VectorConstant.OneWords);
}

/// <summary>|w| · sign(w) · a: signed codes of 8 bits, every pair of products widened at once.</summary>
/// <remarks>
/// 128 · 127 · 2 = 32,512 fits, −128 included: its magnitude is 128 as an unsigned byte. The other way round, sign(a) on the weights, it would
/// stay −128.
/// </remarks>
internal sealed class SignDots(VectorAssembler vector) : DotSequence(vector)
{
    /// <inheritdoc/>
    public override bool WantsSignedCodes => true;

    /// <summary>Not needed here; the same rows in a larger tile are <see cref="SplitCodeEmitter"/>'s, which needs it.</summary>
    public override CorrectionKind Correction => CorrectionKind.Sum;

    /// <inheritdoc/>
    public override bool StartsCorrected => false;

    /// <inheritdoc/>
    public override int Temporaries(int vectors) => 2 * vectors;

    /// <inheritdoc/>
    public override IEnumerable<VectorConstant> Pins => Vector.Family.IsWide ? [VectorConstant.OneWords, VectorConstant.Zero] : [VectorConstant.OneWords];

    /// <inheritdoc/>
    public override void Prepare(int part, int codes, int temporaries)
    {
        Vector.KeepSigns(codes);
        Vector.Op(VectorOp.Magnitude, temporaries + part, codes);
    }

    /// <inheritdoc/>
    public override void Add(int sums, int codes, int vectors, int temporaries, int activations, int start)
    {
        int magnitudes = temporaries, inputs = temporaries + vectors;
        Vector.Broadcast(inputs, rsi, activations);
        for (int v = 0; v < vectors; v++)
        {
            int product = v == vectors - 1 ? inputs : inputs + 1; // the last one may overwrite the activations
            Vector.Sign(product, inputs, codes + v);
            Vector.Op(VectorOp.MultiplyAddBytes, product, magnitudes + v, product);
            if (start != -2)
            {
                Vector.Op(VectorOp.MultiplyAddWords, sums + v, product, VectorConstant.OneWords);
                continue;
            }
            Vector.Op(VectorOp.MultiplyAddWords, product, product, VectorConstant.OneWords);
            Vector.Op(VectorOp.AddDwords, sums + v, sums + v, product);
        }
    }
}
