using System.CommandLine;
using System.Globalization;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Checkpoint.Hub;
using TpServe.Gateway.Settings;

namespace TpServe.Gateway.Commands.Models;

/// <summary>tpserve models: what is known, and what the hub's cache holds; fetches and removes.</summary>
internal static class ModelsCommand
{
    private const int Cancelled = 130; // as a shell says of a program that Ctrl-C ended
    private const int ShortCommit = 8;

    /// <param name="sources">Where the cache's and the hub's variables are.</param>
    public static Command Create(SettingSources sources)
    {
        Command models = new("models", "Models of the hub: list what its cache holds, pull, rm; alone, or with formats, what TpServe can serve.")
        {
            List(sources), Pull(sources), Remove(sources), Formats(),
        };
        models.SetAction(_ => PrintFormats(Console.Out));
        return models;
    }

    private static Command Formats()
    {
        Command formats = new("formats", "The families and formats that TpServe reads.");
        formats.SetAction(_ => PrintFormats(Console.Out));
        return formats;
    }

    private static Command List(SettingSources sources)
    {
        Command list = new("list", "The models in the hub's cache: name, revision, size, and whether TpServe can serve them.");
        list.SetAction(_ => Guard(() =>
        {
            HubCache cache = new(HubOptions.From(sources.Environment).Cache);
            IReadOnlyList<CachedModel> models = HubInventory.Of(cache);
            Console.Error.WriteLine($"{models.Count} models in {cache.Root}");
            Print(models, Console.Out);
            return Task.FromResult(0);
        }, CancellationToken.None));
        return list;
    }

    private static Command Pull(SettingSources sources)
    {
        Argument<string> name = new("ID") { Description = HubModelId.Form + "." };
        Command pull = new("pull", "Downloads a model into the hub's cache, or what is missing of it, or brings its revision up to date.") { name };
        pull.SetAction((parsed, cancellation) => Guard(async () =>
        {
            HubModelId id = Parse(parsed.GetValue(name)!);
            HubModels models = new(HubOptions.From(sources.Environment));
            HubModel model;
            await using (DownloadDisplay display = DownloadDisplay.Create())
                model = await models.GetAsync(id, refresh: true, display.Report, cancellation);
            Console.Error.WriteLine($"{id} at {model.Commit}; serve it with --model {id}");
            Console.WriteLine(model.Path); // alone on standard output, so that a script can keep it
            return 0;
        }, cancellation));
        return pull;
    }

    private static Command Remove(SettingSources sources)
    {
        Argument<string> name = new("ID") { Description = "org/name: all of it; org/name@REVISION: that revision; org/name:QUANT: those files of every revision." };
        Option<bool> yes = new("--yes") { Description = "Do not ask." };
        Command remove = new("rm", "Removes a model from the hub's cache; asks before.") { name, yes };
        remove.SetAction((parsed, cancellation) => Guard(() =>
        {
            string text = parsed.GetValue(name)!;
            HubCache cache = new(HubOptions.From(sources.Environment).Cache);
            HubRemoval removal = cache.Removal(Parse(text), everyRevision: !text.Contains('@'));
            string what = string.Create(CultureInfo.InvariantCulture, $"{removal.Id}, {removal.Files.Count} files of {removal.Commits.Count} revisions, {removal.Bytes / 1048576.0:F1} MiB");
            if (!parsed.GetValue(yes))
            {
                if (Console.IsInputRedirected)
                    throw new HubException(HubFault.Refused, $"{what}: nobody is there to be asked; --yes removes it.");
                Console.Error.Write($"Remove {what}? [y/N] ");
                if (Console.ReadLine()?.Trim().ToUpperInvariant() is not ("Y" or "YES"))
                    return Task.FromResult(1);
            }
            cache.Remove(removal);
            Console.Error.WriteLine($"removed {what}");
            return Task.FromResult(0);
        }, cancellation));
        return remove;
    }

    private static void PrintFormats(TextWriter output)
    {
        output.WriteLine($"families            {string.Join(", ", KnownFormats.Families)}");
        output.WriteLine($"  in GGUF files     {string.Join(", ", KnownFormats.GgufArchitectures)}");
        output.WriteLine($"GGUF types          {KnownFormats.GgufTypes}");
        output.WriteLine($"safetensors types   {KnownFormats.HubTypes}");
        output.WriteLine($"  quantised by      {KnownFormats.HubQuantisations}");
    }

    private static void Print(IReadOnlyList<CachedModel> models, TextWriter output)
    {
        if (models.Count == 0)
            return;
        List<string[]> rows = [["name", "revision", "commit", "kind", "size", "served"]];
        foreach (CachedModel model in models)
            rows.Add(
            [
                model.Id.ToString(), model.Revisions.Count == 0 ? "-" : string.Join(",", model.Revisions), model.Commit[..ShortCommit], model.Kind,
                string.Create(CultureInfo.InvariantCulture, $"{model.Bytes / 1048576.0:F1} MiB"), Verdict(model),
            ]);
        int[] widths = [.. Enumerable.Range(0, rows[0].Length).Select(column => rows.Max(row => row[column].Length))];
        foreach (string[] row in rows)
            output.WriteLine(string.Join("  ", row.Select((cell, column) => cell.PadRight(widths[column]))).TrimEnd());
    }

    /// <summary>Whether it is served, by opening it as a server would.</summary>
    private static string Verdict(CachedModel model)
    {
        if (!model.IsWhole)
            return $"no: files are missing; 'tpserve models pull {model.Id}' brings them";
        try
        {
            using ModelCheckpoint checkpoint = ModelCheckpoints.Open(model.Path);
            KnownArchitectures.Require(checkpoint.Config.Architecture);
            return $"yes: {checkpoint.Config.Architecture}";
        }
        catch (Exception fault) when (fault is ModelLoadException or IOException or UnauthorizedAccessException)
        {
            return "no: " + fault.Message.Replace(model.Path + "/", "", StringComparison.Ordinal).Replace(model.Path + ": ", "", StringComparison.Ordinal).ReplaceLineEndings(" ");
        }
    }

    private static HubModelId Parse(string text) => HubModelId.TryParse(text, out HubModelId? id) ? id : throw new HubException(HubFault.Refused, $"'{text}' is no model of the hub; write {HubModelId.Form}.");

    private static async Task<int> Guard(Func<Task<int>> run, CancellationToken cancellation)
    {
        try
        {
            return await run();
        }
        catch (Exception fault) when (fault is HubException or IOException or UnauthorizedAccessException)
        {
            UsageFault.Tell(fault.Message);
            return 1;
        }
        catch (OperationCanceledException) when (cancellation.IsCancellationRequested)
        {
            UsageFault.Tell("cancelled; what has come is kept, and the next pull goes on with it.");
            return Cancelled;
        }
    }
}
