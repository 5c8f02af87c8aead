namespace TpServe.Ptx;

/// <summary>What one instruction did in a launch.</summary>
/// <param name="Line">Its line in the text.</param>
/// <param name="Text">The instruction.</param>
/// <param name="Executions">How often a warp executed it.</param>
/// <param name="Bytes">Bytes of global memory its lanes asked for.</param>
/// <param name="Sectors">32-byte sectors of global memory it touched.</param>
/// <param name="Passes">Passes over the banks of shared memory.</param>
/// <param name="IdealPasses">The passes without bank conflicts.</param>
/// <param name="WorstWays">The most lanes' words on one bank in one pass.</param>
public sealed record PtxSite(int Line, string Text, long Executions, long Bytes, long Sectors, long Passes, long IdealPasses, int WorstWays);
