using TpServe.Ptx.Machine;
using TpServe.Ptx.Ops;

namespace TpServe.Ptx;

/// <summary>What a launch did: counts that tell a kernel's quality.</summary>
public sealed class PtxRun
{
    internal PtxRun(Launch launch)
    {
        LaunchCounts counts = launch.Counts;
        PtxOp[] code = launch.Program.Code;
        Dictionary<string, long> mnemonics = [];
        List<PtxSite> sites = [];
        for (int i = 0; i < code.Length; i++)
        {
            if (counts.Executions[i] == 0)
                continue;
            string name = code[i].Source.Opcode.Split('.')[0];
            mnemonics[name] = mnemonics.GetValueOrDefault(name) + counts.Executions[i];
            WarpInstructions += counts.Executions[i];
            ThreadInstructions += counts.Lanes[i];
            if (name == "mma")
                MmaInstructions += counts.Executions[i];
            bool isStore = name is "st" or "red";
            GlobalLoadBytes += isStore ? 0 : counts.Bytes[i];
            GlobalLoadSectors += isStore ? 0 : counts.Sectors[i];
            GlobalStoreBytes += isStore ? counts.Bytes[i] : 0;
            GlobalStoreSectors += isStore ? counts.Sectors[i] : 0;
            SharedPasses += counts.Passes[i];
            SharedIdealPasses += counts.IdealPasses[i];
            WorstBankConflict = Math.Max(WorstBankConflict, counts.WorstWays[i]);
            sites.Add(new PtxSite(code[i].Source.Line, code[i].Source.Text, counts.Executions[i], counts.Bytes[i], counts.Sectors[i], counts.Passes[i], counts.IdealPasses[i], counts.WorstWays[i]));
        }
        DividedUniformBranches = launch.DividedUniformBranches;
        Mnemonics = mnemonics;
        Sites = sites;
    }

    /// <summary>Instructions executed by warps.</summary>
    public long WarpInstructions { get; }

    /// <summary>Instructions executed by threads.</summary>
    public long ThreadInstructions { get; }

    /// <summary>mma.sync executed by warps.</summary>
    public long MmaInstructions { get; }

    /// <summary>Bytes the threads read from global memory, cp.async and atomics with a result among them.</summary>
    public long GlobalLoadBytes { get; }

    /// <summary>32-byte sectors those reads touched; GlobalLoadBytes / 32 is the least for reads of different bytes.</summary>
    public long GlobalLoadSectors { get; }

    /// <summary>Bytes the threads wrote to global memory.</summary>
    public long GlobalStoreBytes { get; }

    /// <summary>32-byte sectors those writes touched.</summary>
    public long GlobalStoreSectors { get; }

    /// <summary>Passes over the banks of shared memory, estimated.</summary>
    public long SharedPasses { get; }

    /// <summary>The passes there would be without bank conflicts.</summary>
    public long SharedIdealPasses { get; }

    /// <summary>The most words on one bank in one pass.</summary>
    public int WorstBankConflict { get; }

    /// <summary>Passes per ideal pass: 1 is free of bank conflicts.</summary>
    public double AverageBankConflict => SharedIdealPasses == 0 ? 1 : (double)SharedPasses / SharedIdealPasses;

    /// <summary>Branches marked .uni that parted a warp: ptxas believes them and leaves out the WARPSYNC of a shuffle behind one.</summary>
    public long DividedUniformBranches { get; }

    /// <summary>Instructions of warps by the first word of the opcode.</summary>
    public IReadOnlyDictionary<string, long> Mnemonics { get; }

    /// <summary>Every instruction that was executed, in the order of the text.</summary>
    public IReadOnlyList<PtxSite> Sites { get; }

    /// <summary>The counts in one line.</summary>
    public override string ToString() => string.Create(
        System.Globalization.CultureInfo.InvariantCulture,
        $"{WarpInstructions} warp instructions ({MmaInstructions} mma), {GlobalLoadBytes} bytes read in {GlobalLoadSectors} sectors, {GlobalStoreBytes} written in {GlobalStoreSectors}, shared memory {AverageBankConflict:F2} passes per ideal pass (worst {WorstBankConflict})");
}
