using TpServe.Checkpoint;
using TpServe.Checkpoint.Hub;

namespace TpServe.Gateway.Commands.Models;

/// <summary>--model and --draft where they name models of the hub: the settings with paths in their place.</summary>
/// <param name="Options">The settings; a model of the hub is served under its name, and under the longer one by which it was asked for.</param>
/// <param name="Lines">What was found where, for people.</param>
internal sealed record NamedModels(GatewayOptions Options, IReadOnlyList<string> Lines)
{
    /// <summary>Finds them in the cache, or has them downloaded.</summary>
    /// <param name="options">The settings.</param>
    /// <param name="environment">The process's variables.</param>
    /// <param name="mayDownload">Whether the hub is asked for what the cache has not.</param>
    /// <param name="cancellation">Ends a download, which the next one goes on with.</param>
    /// <exception cref="ModelLoadException">One cannot be had; names it, and where it was looked for.</exception>
    public static async Task<NamedModels> ResolveAsync(GatewayOptions options, IReadOnlyList<KeyValuePair<string, string>> environment, bool mayDownload, CancellationToken cancellation)
    {
        List<string> lines = [];
        if (await FindAsync("--model", options.Model) is { } model)
        {
            string asked = model.Id.ToString();
            options = options with { Model = model.Path, ServedModelNames = options.ServedModelNames.Count > 0 ? options.ServedModelNames : [.. new[] { model.Id.Repository, asked }.Distinct()] };
        }
        if (await FindAsync("--draft", options.Draft) is { } draft)
            options = options with { Draft = draft.Path };
        return new NamedModels(options, lines);

        async Task<HubModel?> FindAsync(string flag, string text)
        {
            if (IdOf(text) is not { } id)
                return null;
            try
            {
                HubOptions hub = HubOptions.From(environment);
                HubModels models = new(hub with { Offline = hub.Offline || options.Offline || !mayDownload });
                await using DownloadDisplay display = DownloadDisplay.Create();
                HubModel found = await models.GetAsync(id, refresh: false, display.Report, cancellation);
                lines.Add($"{id} at {found.Commit[..8]} in {models.Cache.Root}");
                if (found.Note is { } note)
                    lines.Add(note);
                return found;
            }
            catch (HubException fault)
            {
                string pull = fault.Fault == HubFault.Offline ? $" 'tpserve models pull {id}' brings it where there is a network." : "";
                throw new ModelLoadException($"{flag} {text}: there is no such file or folder, and as a model of the hub: {fault.Message}{pull}", fault);
            }
        }
    }

    /// <summary>The model of the hub that a text names; null where it is a path, which one that exists always is.</summary>
    public static HubModelId? IdOf(string text) =>
        text.Length > 0 && !File.Exists(text) && !Directory.Exists(text) && RegularFile.Fault(text) is null && HubModelId.TryParse(text, out HubModelId? id) ? id : null;
}
