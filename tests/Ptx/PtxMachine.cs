using TpServe.Ptx.Machine;
using TpServe.Ptx.Text;

namespace TpServe.Ptx;

/// <summary>Runs kernels one instruction of a warp after the other, in an order drawn from a seed.</summary>
/// <remarks>
/// Launch   any grid; blocks of 1 to 1024 threads; shared memory up to 227 KiB.
/// Numerics the seed decides the order of blocks and of warps; a kernel without races gives the same bits for every seed.
/// Errors   PtxException for a fault of the kernel: out of bounds, uninitialised, race, divergence, deadlock, budget.
/// Threads  one thread at a time.
/// </remarks>
public sealed class PtxMachine(PtxMemory memory, int seed)
{
    private const int MostThreads = 1024, MostSharedBytes = 227 * 1024;
    private const int ShortTurn = 4, LongTurn = 64;

    private readonly Random _random = new(seed);

    /// <summary>The most instructions of warps a launch may execute. Default 200 million.</summary>
    public long Budget { get; init; } = 200_000_000;

    /// <summary>How many blocks run interleaved; kernels whose blocks wait for each other need all. Default 1.</summary>
    public int ResidentBlocks { get; init; } = 1;

    /// <summary>Whether races are looked for; without, large launches are faster. Default true.</summary>
    public bool FindsRaces { get; init; } = true;

    /// <summary>
    /// Whether accesses of two lanes of one warp without a barrier between (bar.warp.sync or bar.sync) are races too. PTX gives them no
    /// order; where the lanes run together a card keeps that of the text. Default false.
    /// </summary>
    public bool FindsWarpRaces { get; init; }

    /// <summary>Runs a kernel to its end.</summary>
    /// <param name="module">The module.</param>
    /// <param name="kernelName">The kernel's name; ILGPU's prefix "Kernel_" may be left out.</param>
    /// <param name="grid">Blocks.</param>
    /// <param name="block">Threads of a block.</param>
    /// <param name="dynamicSharedBytes">Bytes of the extern shared array.</param>
    /// <param name="args">Numbers, View for ArrayView parameters, byte[] for structs.</param>
    public PtxRun Launch(PtxModule module, string kernelName, (int X, int Y, int Z) grid, (int X, int Y, int Z) block, int dynamicSharedBytes, params object[] args) =>
        LaunchTogether(new PtxLaunch(module, kernelName, grid, block, dynamicSharedBytes, args))[0];

    /// <summary>Runs kernels at the same time, each as if on a device of its own, to their ends.</summary>
    /// <remarks>Only fences and strong accesses of the system's scope order threads of different launches.</remarks>
    public PtxRun[] LaunchTogether(params PtxLaunch[] launches)
    {
        LaunchGroup group = new(Budget, FindsRaces, FindsWarpRaces);
        foreach (PtxLaunch launch in launches)
            group.Add(Prepare(launch, group));
        foreach (Memory.Region region in memory.Regions)
            group.Watch(region);
        Run(group);
        return [.. group.Launches.Select(launch => new PtxRun(launch))];
    }

    private Launch Prepare(PtxLaunch launch, LaunchGroup group)
    {
        Function kernel = FindKernel(launch.Module, launch.KernelName);
        CheckSizes(kernel, launch.Module, launch.Grid, launch.Block, launch.DynamicSharedBytes);
        foreach (Symbol symbol in launch.Module.Program.Symbols)
            if (symbol.Space is Space.Global or Space.Const)
                memory.GlobalOf(symbol);
        return new Launch(launch.Module.Program, memory, kernel)
        {
            GridSize = launch.Grid,
            BlockSize = launch.Block,
            DynamicSharedBytes = launch.DynamicSharedBytes,
            Arguments = KernelArguments.Place(kernel.Text, launch.Args),
            Together = group,
        };
    }

    private void Run(LaunchGroup group)
    {
        Queue<int>[] waiting = [.. group.Launches.Select(launch => new Queue<int>(Shuffled(launch.BlockCount)))];
        List<Warp> warps = [];
        while (true)
        {
            for (int i = 0; i < waiting.Length; i++)
                while (group.Launches[i].Resident.Count < Math.Max(1, ResidentBlocks) && waiting[i].TryDequeue(out int number))
                {
                    Block block = new(group.Launches[i], number);
                    group.Launches[i].Resident.Add(block);
                    warps.AddRange(block.Warps);
                }
            if (warps.Count == 0)
                return;
            Warp warp = Choose(warps, group);
            // Short turns show what a few instructions in between do, long ones what a whole loop does.
            warp.Run(1 + _random.Next(_random.Next(2) == 0 ? ShortTurn : LongTurn), _random);
            if (!warp.IsDone)
                continue;
            warps.Remove(warp);
            if (warp.Block.IsDone)
                warp.Launch.Resident.Remove(warp.Block);
        }
    }

    private int[] Shuffled(int count)
    {
        int[] numbers = [.. Enumerable.Range(0, count)];
        _random.Shuffle(numbers);
        return numbers;
    }

    private Warp Choose(List<Warp> warps, LaunchGroup group)
    {
        int start = _random.Next(warps.Count);
        for (int i = 0; i < warps.Count; i++)
        {
            Warp warp = warps[(start + i) % warps.Count];
            if (warp.CanRun)
                return warp;
        }
        throw group.Deadlock();
    }

    private static Function FindKernel(PtxModule module, string name)
    {
        if ((module.Program.Functions.TryGetValue(name, out Function? kernel) || module.Program.Functions.TryGetValue("Kernel_" + name, out kernel)) && kernel.Text.IsKernel)
            return kernel;
        throw new PtxException(PtxFault.Launch, $"The module has no kernel {name}, only {string.Join(", ", module.Kernels.Select(other => other.Name))}.");
    }

    private static void CheckSizes(Function kernel, PtxModule module, (int X, int Y, int Z) grid, (int X, int Y, int Z) block, int dynamicSharedBytes)
    {
        long threads = (long)block.X * block.Y * block.Z;
        if (Math.Min(grid.X, Math.Min(grid.Y, grid.Z)) < 1 || Math.Min(block.X, Math.Min(block.Y, block.Z)) < 1 || threads > MostThreads)
            throw new PtxException(PtxFault.Launch, $"{kernel.Name}: a grid of {grid} blocks of {block} threads.");
        if (dynamicSharedBytes < 0 || module.StaticSharedBytes + dynamicSharedBytes > MostSharedBytes)
            throw new PtxException(PtxFault.Launch, $"{kernel.Name}: {module.StaticSharedBytes} + {dynamicSharedBytes} bytes of shared memory, of {MostSharedBytes}.");
        if (kernel.Text.MostThreads is { } most && threads > most.Aggregate(1L, (product, size) => product * size))
            throw new PtxException(PtxFault.Launch, $"{kernel.Name}: {threads} threads a block, more than its .maxntid allows.");
        if (kernel.Text.ExactThreads is { } exact && threads != exact.Aggregate(1L, (product, size) => product * size))
            throw new PtxException(PtxFault.Launch, $"{kernel.Name}: {threads} threads a block, not its .reqntid.");
    }
}
