namespace TpServe.Ptx.Tests;

/// <summary>Hand-written PTX: a body is wrapped into a kernel with four 64-bit parameters p0 to p3.</summary>
internal static class Kernel
{
    /// <summary>A module of one kernel k. The addresses p0 and p1 are loaded into %a and %b, %t is the thread, %o = p1 + 4 · thread.</summary>
    public static PtxModule Of(string body, string before = "") => PtxModule.Parse($$"""
        .version 8.0
        .target sm_80
        .address_size 64
        {{before}}
        .visible .entry k(.param .b64 p0, .param .b64 p1, .param .b64 p2, .param .b64 p3)
        {
            .reg .b64 %a, %b, %i, %o;
            .reg .b32 %t;
            ld.param.b64 %a, [p0];
            ld.param.b64 %b, [p1];
            mov.u32 %t, %tid.x;
            mul.wide.u32 %o, %t, 4;
            add.u64 %i, %a, %o;
            add.u64 %o, %b, %o;
            {{body}}
            ret;
        }
        """);

    /// <summary>Runs one block of 32 threads: p0 is the input, p1 an output of one uint a thread, which it returns.</summary>
    public static uint[] Run(string body, uint[] input, string before = "", int threads = 32)
    {
        PtxMemory memory = new();
        PtxBuffer output = memory.Allocate(threads * 4);
        new PtxMachine(memory, 1).Launch(Of(body, before), "k", (1, 1, 1), (threads, 1, 1), 0, memory.Allocate(input).Address, output.Address, 0L, 0L);
        return memory.Read<uint>(output);
    }

    /// <summary>The fault a launch ends with.</summary>
    public static PtxException Fault(string body, int threads = 64, int blocks = 1, long budget = 1_000_000, int seed = 1, int resident = 1, string before = "", int dynamicShared = 0)
    {
        PtxMemory memory = new();
        PtxBuffer input = memory.Allocate(new uint[256]), output = memory.Allocate(4096);
        PtxModule module = Of(body, before);
        PtxMachine machine = new(memory, seed) { Budget = budget, ResidentBlocks = resident };
        return NUnit.Framework.Assert.Throws<PtxException>(() => machine.Launch(module, "k", (blocks, 1, 1), (threads, 1, 1), dynamicShared, input.Address, output.Address, 0L, 0L))!;
    }

    /// <summary>Runs a body that must not fault, for several seeds.</summary>
    public static void RunsClean(string body, int threads = 64, int blocks = 1, int resident = 1, string before = "", int dynamicShared = 0)
    {
        for (int seed = 0; seed < 8; seed++)
        {
            PtxMemory memory = new();
            PtxBuffer input = memory.Allocate(new uint[256]), output = memory.Allocate(4096);
            new PtxMachine(memory, seed) { Budget = 1_000_000, ResidentBlocks = resident }
                .Launch(Of(body, before), "k", (blocks, 1, 1), (threads, 1, 1), dynamicShared, input.Address, output.Address, 0L, 0L);
        }
    }
}
