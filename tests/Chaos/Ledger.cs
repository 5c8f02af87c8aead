using System.Globalization;
using TpServe.Chaos.Load;

namespace TpServe.Chaos;

/// <summary>What a fault did.</summary>
/// <param name="Arena">Where.</param>
/// <param name="Name">Which.</param>
/// <param name="LostGroup">The group's epoch ended.</param>
/// <param name="Kept">Workers that lived through it.</param>
/// <param name="Lasted">From its beginning until it was put right.</param>
/// <param name="ToService">From then until the group made steps again.</param>
internal sealed record FaultRecord(string Arena, string Name, bool LostGroup, int Kept, TimeSpan Lasted, TimeSpan ToService);

/// <summary>Everything that happened, and what of it must not have.</summary>
/// <remarks>Threads  any.</remarks>
internal sealed class Ledger(TextWriter output)
{
    private readonly Lock _gate = new();
    private readonly List<FaultRecord> _faults = [];
    private readonly List<string> _violations = [];
    private readonly Dictionary<(Way Way, OutcomeKind Kind), int> _outcomes = [];
    private TimeSpan _longest;

    /// <summary>What must not have happened.</summary>
    public IReadOnlyList<string> Violations
    {
        get
        {
            lock (_gate)
                return [.. _violations];
        }
    }

    /// <summary>Requests that have ended.</summary>
    public int Requests
    {
        get
        {
            lock (_gate)
                return _outcomes.Values.Sum();
        }
    }

    public void Add(FaultRecord fault)
    {
        lock (_gate)
            _faults.Add(fault);
    }

    public void Add(Way way, Outcome outcome, TimeSpan took)
    {
        lock (_gate)
        {
            _outcomes[(way, outcome.Kind)] = _outcomes.GetValueOrDefault((way, outcome.Kind)) + 1;
            if (took > _longest)
                _longest = took;
            if (outcome.IsViolation)
                Add($"{outcome.Kind} after {took.TotalSeconds:F1} s, {way}: {outcome.Detail}");
        }
    }

    public void AddViolations(IEnumerable<string> violations)
    {
        lock (_gate)
            foreach (string violation in violations)
                Add(violation);
    }

    /// <summary>The tables.</summary>
    public void Print(TextWriter to)
    {
        lock (_gate)
        {
            PrintFaults(to);
            PrintRequests(to);
            foreach (string violation in _violations)
                to.WriteLine($"VIOLATION {violation}");
        }
    }

    private void PrintFaults(TextWriter to)
    {
        to.WriteLine();
        to.WriteLine("arena  fault                                                  times  group lost  workers kept  lasted s  to service s: median  95 %  most");
        foreach (IGrouping<(string Arena, string Name), FaultRecord> kind in _faults.GroupBy(fault => (fault.Arena, fault.Name)).OrderBy(kind => kind.Key))
        {
            double[] service = [.. kind.Select(fault => fault.ToService.TotalSeconds).Order()];
            to.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{kind.Key.Arena,-6} {kind.Key.Name,-54} {service.Length,5}  {kind.Count(fault => fault.LostGroup),10}  {kind.Average(fault => fault.Kept),12:F1}  {kind.Average(fault => fault.Lasted.TotalSeconds),8:F1}  {At(service, 0.5),20:F1}  {At(service, 0.95),4:F1}  {service[^1],4:F1}"));
        }
    }

    private void PrintRequests(TextWriter to)
    {
        OutcomeKind[] kinds = Enum.GetValues<OutcomeKind>();
        to.WriteLine();
        to.WriteLine($"{"requests",-13}{string.Concat(kinds.Select(kind => $"{kind,15}"))}");
        foreach (Way way in Enum.GetValues<Way>())
            to.WriteLine($"{way,-13}{string.Concat(kinds.Select(kind => $"{_outcomes.GetValueOrDefault((way, kind)),15}"))}");
        to.WriteLine($"{"all",-13}{string.Concat(kinds.Select(kind => $"{_outcomes.Where(outcome => outcome.Key.Kind == kind).Sum(outcome => outcome.Value),15}"))}");
        to.WriteLine(string.Create(CultureInfo.InvariantCulture, $"longest request {_longest.TotalSeconds:F1} s"));
        to.WriteLine();
    }

    // Told at once: a run that ends badly later would take it along.
    private void Add(string violation)
    {
        _violations.Add(violation);
        output.WriteLine($"VIOLATION {violation}");
    }

    private static double At(double[] sorted, double share) => sorted[(int)Math.Ceiling(share * sorted.Length) - 1];
}
