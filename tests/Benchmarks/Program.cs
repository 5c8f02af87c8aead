// Prints what things cost on this machine: dotnet run --project tests/Benchmarks -c Release -- NAME [arguments]
using TpServe.Benchmarks;

switch (args)
{
    case ["collectives", ..]:
        return CollectiveBench.Run(args[1..]);
    default:
        Console.Error.WriteLine("benchmarks: collectives [DEGREE]");
        return 2;
}
