using System.Runtime.InteropServices;
using TpServe.Kernels.Cpu.Packing;

namespace TpServe.Kernels.Cpu;

/// <summary>A matrix as panels of outputs, with the leaf table its kernel walks.</summary>
internal sealed unsafe class CpuPackedWeight : PackedWeight
{
    private readonly WeightMemory _memory;
    private LeafEntry* _entries;

    /// <summary>Packs a matrix; the threads share its panels.</summary>
    /// <param name="rows">As the file has it.</param>
    /// <param name="plan">Which columns, and the order of their sums.</param>
    /// <param name="panel">Its layout.</param>
    /// <param name="kernel">Its kernel.</param>
    /// <param name="activations">What the kernel reads.</param>
    /// <param name="threads">Who packs.</param>
    /// <param name="kept">What is packed already, of the same layout.</param>
    /// <param name="readBytes">Bytes of the file that were read.</param>
    /// <exception cref="ArgumentException">The leaves reach beyond the file's columns, or a row has the wrong length.</exception>
    public CpuPackedWeight(WeightRows rows, LeafPlan plan, PanelFormat panel, PanelKernel kernel, ActivationLayout activations, CpuThreads threads, IReadOnlyList<KeptRows> kept, out long readBytes)
    {
        InputLeaves leaves = plan.Leaves;
        if (leaves.Boundaries[0] < 0 || leaves.Boundaries[^1] > rows.FileColumns)
            throw new ArgumentException($"Leaves over columns [{leaves.Boundaries[0]}, {leaves.Boundaries[^1]}) do not fit rows of {rows.FileColumns}.");
        if (rows.FileColumns % rows.Format.BlockValues() != 0)
            throw new ArgumentException($"Rows of {rows.FileColumns} do not hold whole blocks of {rows.Format.BlockValues()} {rows.Format} weights.");
        Outputs = rows.Outputs;
        Plan = plan;
        Panel = panel;
        Activations = activations;
        Kernel = kernel;
        int perUnit = panel.BlocksPerUnit;
        FirstUnit = plan.Visits[0].Block / perUnit;
        Units = (plan.Visits[^1].Block / perUnit) + 1 - FirstUnit;
        PanelBytes = panel.PanelBytes(Units);
        Panels = (Outputs + panel.PanelOutputs - 1) / panel.PanelOutputs;
        _memory = new WeightMemory(PanelBytes * Panels);
        long read = 0;
        KeptPacker packer = new(rows, panel, FirstUnit, Units, _memory.Pointer, [.. kept], &read);
        threads.Run(ref packer, Panels, 1);
        readBytes = read;
        _entries = WriteEntries(plan, perUnit);
    }

    /// <inheritdoc/>
    public override WeightFormat Format => Panel.Format;

    /// <inheritdoc/>
    public override int Outputs { get; }

    /// <inheritdoc/>
    public override InputLeaves Leaves => Plan.Leaves;

    /// <inheritdoc/>
    public override long Bytes => _memory.Bytes;

    /// <summary>Which blocks the leaves visit.</summary>
    public LeafPlan Plan { get; }

    /// <summary>The panel's layout.</summary>
    public PanelFormat Panel { get; }

    /// <summary>The activations its kernel reads.</summary>
    public ActivationLayout Activations { get; }

    /// <summary>Its kernel.</summary>
    public PanelKernel Kernel { get; }

    /// <summary>First unit of columns that the panels hold, counted from the file's first column.</summary>
    public int FirstUnit { get; }

    /// <summary>Units of columns that the panels hold.</summary>
    public int Units { get; }

    /// <summary>Number of panels; the last may be ragged.</summary>
    public int Panels { get; }

    /// <summary>Bytes from panel to panel.</summary>
    public long PanelBytes { get; }

    /// <summary>The leaf table.</summary>
    public LeafEntry* Entries
    {
        get
        {
            ObjectDisposedException.ThrowIf(_entries is null, this);
            return _entries;
        }
    }

    /// <summary>A panel's first byte.</summary>
    public byte* PanelAt(int panel) => _memory.Pointer + (panel * PanelBytes);

    /// <summary>The exact float32 values of one output's inputs, columns Leaves.Boundaries[0] and up.</summary>
    public void DecodeRow(int output, Span<float> values)
    {
        byte* panel = PanelAt(output / Panel.PanelOutputs);
        int lane = output % Panel.PanelOutputs, origin = FirstUnit * Panel.BlocksPerUnit * 32;
        float* decoded = stackalloc float[32];
        for (int i = 0, count; i < values.Length; i += count)
        {
            int column = Leaves.Boundaries[0] + i - origin, k = column % 32;
            count = Math.Min(32 - k, values.Length - i);
            DecodeBlock(panel, column / 32, lane, decoded);
            new ReadOnlySpan<float>(decoded + k, count).CopyTo(values[i..]);
        }
    }

    /// <summary>32 inputs of one output.</summary>
    private void DecodeBlock(byte* panel, int block, int lane, float* values)
    {
        byte* unit = panel + ((long)(block / Panel.BlocksPerUnit) * Panel.UnitBytes);
        int inUnit = block % Panel.BlocksPerUnit;
        if (Panel.IsFloat)
        {
            for (int k = 0; k < 32; k++)
                values[k] = Panel.Codes switch
                {
                    CodeLayout.Float32 => ((float*)unit)[(k * 32) + lane],
                    CodeLayout.Float16 => (float)((Half*)unit)[(k * 32) + lane],
                    _ => BitConverter.UInt32BitsToSingle((uint)((ushort*)unit)[((k >> 1) * 64) + (lane * 2) + (k & 1)] << 16),
                };
            return;
        }

        // Four codes of an output are one dword of a vector.
        PanelCodes.Scales(Panel, unit, inUnit, lane, out float scale0, out float scale1, out float min0, out float min1);
        uint* codes = (uint*)(unit + Panel.HeaderBytes + (inUnit * Panel.BlockBytes) + Panel.BlockScaleBytes) + lane;
        foreach (CodeStep step in Panel.Steps)
        {
            uint four = step.Of(codes[16 * step.Low], step.High < 0 ? 0 : codes[16 * step.High]);
            (float scale, float min) = step.K4 < 4 ? (scale0, min0) : (scale1, min1);
            for (int j = 0; j < 4; j++, four >>= 8)
                values[(4 * step.K4) + j] = PanelCodes.Value(Panel, Panel.Codes == CodeLayout.NibbleTable ? Panel.Table[four & 15] + Panel.Bias : (byte)four, scale, min);
        }
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
        if (disposing)
            _memory.Dispose();
        NativeMemory.Free(_entries);
        _entries = null;
    }

    /// <summary>Frees a weight that nobody disposed.</summary>
    ~CpuPackedWeight() => Dispose(false);

    private LeafEntry* WriteEntries(LeafPlan plan, int perUnit)
    {
        LeafEntry* entries = (LeafEntry*)NativeMemory.AllocZeroed((nuint)plan.Leaves.Count, LeafEntry.Size);
        for (int leaf = 0; leaf < plan.Leaves.Count; leaf++)
        {
            int block = plan.Visits[plan.FirstVisits[leaf]].Block - (FirstUnit * perUnit);
            entries[leaf] = new LeafEntry
            {
                UnitOffset = (long)(block / perUnit) * Panel.UnitBytes,
                FirstBlock = block % perUnit,
                Blocks = plan.FirstVisits[leaf + 1] - plan.FirstVisits[leaf],
                Merges = plan.Leaves.Merges[leaf],
            };
        }
        return entries;
    }
}
