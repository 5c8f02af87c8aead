// Benchmarks: ratios measured in one run, printed as tables. Each file says what it measures and against what.
using TpServe.Benchmarks;
using TpServe.Benchmarks.Gpu;

string repository = AppContext.BaseDirectory;
while (!File.Exists(Path.Combine(repository, "TpServe.sln")))
    repository = Path.GetDirectoryName(repository) ?? throw new InvalidOperationException("run this inside a clone");
string workFolder = Path.Combine(Path.GetTempPath(), "tpserve-bench");

switch (args)
{
    case ["kernels", .. string[] rest]:
        KernelBench.Run(rest);
        return 0;
    case ["attention", .. string[] rest]:
        AttentionBench.Run(rest);
        return 0;
    case ["pack", .. string[] rest]:
        PackBench.Run(rest);
        return 0;
    case ["shapes", .. string[] rest]:
        ModelShapesBench.Run(rest);
        return 0;
    case ["ops", .. string[] rest]:
        OpsBench.Run(repository, workFolder, rest);
        return 0;
    case ["collectives", .. string[] rest]:
        return CollectiveBench.Run(rest);
    case ["peers", .. string[] rest]:
        await PeerBench.RunAsync(repository, workFolder, rest);
        return 0;
    case ["tp", .. string[] rest]:
        await TpBench.RunAsync(repository, workFolder, rest);
        return 0;
    case ["serving", .. string[] rest]:
        await ServingBench.RunAsync(repository, workFolder, rest);
        return 0;
    case ["load", .. string[] rest]:
        await LoadBench.RunAsync(repository, rest);
        return 0;
    case ["start", .. string[] rest]:
        await StartBench.RunAsync(repository, workFolder, rest);
        return 0;
    case ["draft", .. string[] rest]:
        await DraftBench.RunAsync(repository, workFolder, rest);
        return 0;
    case ["grammar"]:
        GrammarBench.Run(repository);
        return 0;
    case ["gpu", .. string[] rest]:
        return GpuBench.Run(rest);
    case ["bits", .. string[] rest]:
        return await SameBitsCheck.RunAsync(ServedModel.Program(repository), Path.Combine(repository, "models", "SmolLM2-135M-Instruct.Q4_1.gguf"), rest);
    default:
        Console.Error.WriteLine("usage: kernels [threads] [isa] [format…] | attention [threads] [isa] [Float16|Float32|BFloat16] | pack [threads] [format…] | shapes [threads] [smollm2|llama1b] [format] | ops [threads] [isa] [smollm2|1b|3b|moe] [format] [long] [--json FILE] | collectives [DEGREE] | peers [MODEL…] [batch] [b16] [context] [avx2] [--rounds N] [--json FILE] | tp [smollm2|1b…] [--rounds N] | serving [WORD…] | load [--rounds N] | start [smollm2|1b|3b] [format] [--tp N] [--rounds N] [--program FILE] | draft [smollm2|1b] [good|bad] | grammar | gpu [cuda:N|cuda-emulated] [peer.json] | bits [DEVICE] [MODEL…]");
        return 2;
}
