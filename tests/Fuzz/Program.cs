// Damaged inputs, read until there are enough. Read on: FuzzRun, then Targets/.
using System.CommandLine;
using System.Globalization;
using TpServe.Fuzz;

Option<int> inputs = new("--inputs") { Description = "Inputs in all, shared out over the targets.", DefaultValueFactory = _ => 1_000_000 };
Option<int> seed = new("--seed") { Description = "Which inputs.", DefaultValueFactory = _ => 1 };
Option<int> from = new("--from") { Description = "Number of the first input of each target." };
Option<string?> only = new("--only") { Description = "The targets whose names begin so." };
Option<int> seconds = new("--seconds") { Description = "At most so long for each target.", DefaultValueFactory = _ => 3600 };
RootCommand command = new("Reads damaged inputs of every kind: none may crash, hang or take over 100 times its size.") { inputs, seed, from, only, seconds };
command.SetAction(parsed => Fuzz(parsed) ? 0 : 1);
return await command.Parse(args).InvokeAsync();

bool Fuzz(ParseResult parsed)
{
    bool clean = true;
    long total = 0;
    foreach (FuzzTarget target in FuzzTargets.All().Where(target => target.Name.StartsWith(parsed.GetValue(only) ?? "", StringComparison.Ordinal)))
        using (target)
        {
            int count = (int)((long)parsed.GetValue(inputs) * target.Share / FuzzTargets.Shares);
            FuzzFigures figures = new FuzzRun(target, parsed.GetValue(seed)).Run(parsed.GetValue(from), count, TimeSpan.FromSeconds(parsed.GetValue(seconds)));
            total += figures.Inputs;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{target.Name,-30} {figures.Inputs,8} inputs, {(double)figures.Taken / Math.Max(1, figures.Inputs),6:P1} taken, slowest {figures.Slowest.TotalMilliseconds,6:F0} ms, most {figures.MostBytes / 1024.0,9:F0} KiB, {figures.Findings.Count} findings"));
            foreach (string finding in figures.Findings)
                Console.WriteLine(finding);
            clean &= figures.Findings.Count == 0;
        }
    Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{total} inputs of seed {parsed.GetValue(seed)}"));
    return clean;
}
