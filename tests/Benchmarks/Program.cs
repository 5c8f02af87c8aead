// Benchmarks: ratios measured in one run, printed as tables. Usage: dotnet run --project tests/Benchmarks -c Release -- peers [WORD…]
using TpServe.Benchmarks;

string repository = AppContext.BaseDirectory;
while (!File.Exists(Path.Combine(repository, "TpServe.sln")))
    repository = Path.GetDirectoryName(repository) ?? throw new InvalidOperationException("run this inside a clone");
string workFolder = Path.Combine(Path.GetTempPath(), "tpserve-bench");

switch (args.FirstOrDefault())
{
    case "peers":
        await PeerBench.RunAsync(repository, workFolder, args[1..]);
        return 0;
    default:
        Console.Error.WriteLine("usage: peers [WORD…]");
        return 2;
}
