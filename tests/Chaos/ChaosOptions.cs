using System.Globalization;
using TpServe.Testing;

namespace TpServe.Chaos;

/// <summary>What a run is asked to do.</summary>
internal sealed record ChaosOptions
{
    public const string Usage =
        "usage: chaos [--faults N] [--seed N] [--arena all|local|shrink|ring] [--clients N] [--model FILE.gguf] [--log FOLDER]";

    /// <summary>Faults over all arenas. Default 60.</summary>
    public int Faults { get; init; } = 60;

    /// <summary>Decides what is asked and which fault comes when. Default: the clock's.</summary>
    public int Seed { get; init; } = Environment.TickCount & 0xFFFFFF;

    /// <summary>all, local (workers of the gateway, shared memory), shrink (those, and what is left of a group goes on) or ring (workers elsewhere, gRPC). Default all.</summary>
    public string Arena { get; init; } = "all";

    /// <summary>Requests at once. Default 8.</summary>
    public int Clients { get; init; } = 8;

    /// <summary>The model, one GGUF file. Default: the embedded one.</summary>
    public string Model { get; init; } = TestData.SmolLm2;

    /// <summary>Folder for what the servers print; null = it is dropped.</summary>
    public string? Log { get; init; }

    /// <summary>The program runs in its sandbox already.</summary>
    public bool Inside { get; init; }

    /// <exception cref="FormatException">A flag is unknown, or its value wrong.</exception>
    public static ChaosOptions Parse(IReadOnlyList<string> args)
    {
        ChaosOptions options = new();
        for (int i = 0; i < args.Count; i++)
        {
            if (args[i] == Sandbox.InsideFlag)
            {
                options = options with { Inside = true };
                continue;
            }
            string flag = args[i], value = ++i < args.Count ? args[i] : throw new FormatException($"{flag} has no value.");
            options = flag switch
            {
                "--faults" => options with { Faults = Number(flag, value, 1) },
                "--seed" => options with { Seed = Number(flag, value, 0) },
                "--clients" => options with { Clients = Number(flag, value, 1) },
                "--arena" when value is "all" or "local" or "shrink" or "ring" => options with { Arena = value },
                "--model" when File.Exists(value) => options with { Model = Path.GetFullPath(value) },
                "--log" => options with { Log = Path.GetFullPath(value) },
                _ => throw new FormatException($"{flag} {value}: there is no such flag, or no such value of it."),
            };
        }
        return options;
    }

    private static int Number(string flag, string value, int least) =>
        int.TryParse(value, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number >= least
            ? number
            : throw new FormatException($"{flag} {value}: a whole number from {least} on is wanted.");
}
