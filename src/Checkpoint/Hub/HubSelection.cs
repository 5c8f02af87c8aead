using System.Globalization;
using System.Text.RegularExpressions;
using TpServe.Checkpoint.Config;

namespace TpServe.Checkpoint.Hub;

/// <summary>Which files of a repository make the model that somebody means. Pure: names in, names out.</summary>
/// <remarks>Nothing but GGUF, safetensors and the texts beside them is ever chosen: no pickle (*.bin, *.pt, *.pth, *.ckpt) and no program.</remarks>
internal static partial class HubSelection
{
    /// <summary>The quantisation that is taken where a repository has several and none is named.</summary>
    public const string PreferredQuant = "Q4_K_M";

    public const string ConfigJson = "config.json", Index = "model.safetensors.index.json", Single = "model.safetensors", TokenizerJson = "tokenizer.json";
    private const string DenseEnd = "_Dense/config.json"; // its folder alone says that there is a layer behind pooling
    private const int MostNamed = 12;

    /// <summary>The texts beside safetensors files that the readers look at, and those that a Hugging Face folder may lack.</summary>
    private static readonly string[] s_texts =
        [ConfigJson, "generation_config.json", TokenizerJson, "tokenizer_config.json", "chat_template.jinja", "chat_template.json", "1_Pooling/config.json"];

    /// <summary>What is taken.</summary>
    /// <param name="Files">All of them; of a folder whose weights are in an index, without those.</param>
    /// <param name="First">The file to open; null where it is the folder.</param>
    public sealed record Choice(IReadOnlyList<string> Files, string? First)
    {
        /// <summary>Whether the index names further files.</summary>
        public bool HasIndex => Files.Contains(Index);
    }

    /// <summary>Chooses among a repository's files.</summary>
    /// <param name="id">Whose they are; its selection decides.</param>
    /// <param name="names">All there are.</param>
    /// <exception cref="HubException">The selection fits none, or several; or there is no model.</exception>
    public static Choice Choose(HubModelId id, IReadOnlyList<string> names)
    {
        // 1. Named: a file, or the label of a quantisation.
        IReadOnlyList<string[]> models = Models(names);
        if (id.Selection is { } wanted)
        {
            string[][] fit = [.. Fitting(models, wanted)];
            return fit.Length switch
            {
                1 => Of(fit[0]),
                0 => throw new HubException(HubFault.NotFound, $"{id.Repository} at {id.Revision} has no GGUF file '{wanted}'{Listed(models)}."),
                _ => throw new HubException(HubFault.Refused, $"'{wanted}' fits several files of {id.Repository}: {Named(fit)}; name one of them."),
            };
        }

        // 2. A Hugging Face folder.
        string? weights = names.Contains(Index) ? Index : names.Contains(Single) ? Single : null;
        if (weights is not null && names.Contains(ConfigJson))
            return Checked(new Choice([.. s_texts.Where(names.Contains), .. names.Where(name => name.EndsWith(DenseEnd, StringComparison.Ordinal) && name.Count(letter => letter == '/') == 1), weights], null));

        // 3. The one GGUF model, or the preferred of several.
        if (models.Count == 1)
            return Of(models[0]);
        if (models.Count > 1)
            return Fitting(models, PreferredQuant) is [var preferred]
                ? Of(preferred)
                : throw new HubException(HubFault.Refused, $"{id.Repository} holds several models and none of {PreferredQuant}: {Named(models)}; name one as in {id.Repository}:{LabelOf(models[0][0])}.");
        throw new HubException(HubFault.NotFound, $"{id.Repository} at {id.Revision} holds no model that TpServe reads: neither a GGUF file nor {ConfigJson} with {Single} or {Index}{(names.Any(IsPickle) ? "; pickled weights are not read" : "")}.");

        static Choice Of(string[] files) => Checked(new Choice(files, files[0]));
    }

    /// <summary>The files of all models that a selection fits.</summary>
    public static IEnumerable<string> Matches(IReadOnlyList<string> names, string wanted) => Fitting(Models(names), wanted).SelectMany(model => model);

    /// <summary>GGUF models by their files, the parts of a split one together in order; no projector of images, no importance matrix.</summary>
    public static IReadOnlyList<string[]> Models(IEnumerable<string> names) =>
    [
        .. names.Where(name => name.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase) && !IsBeside(name.Split('/')[^1]))
            .GroupBy(name => SplitEnd().Replace(name, "-of-${count}.gguf"), StringComparer.Ordinal)
            .OrderBy(model => model.Key, StringComparer.Ordinal)
            .Select(model => model.Order(StringComparer.Ordinal).ToArray()),
    ];

    /// <summary>The label of a quantisation in a file's name: Q4_K_M; the name where there is none.</summary>
    public static string LabelOf(string name) => Label().Matches(SplitEnd().Replace(name.Split('/')[^1], ".gguf")) is { Count: > 0 } found ? found[^1].Value : name;

    /// <summary>Whether all files of a split model are among them, as their names count.</summary>
    public static bool IsWhole(string[] model) => SplitEnd().Match(model[0]) is not { Success: true } split || model.Length == int.Parse(split.Groups["count"].Value, CultureInfo.InvariantCulture);

    /// <summary>The files that an index names.</summary>
    /// <exception cref="HubException">It is no index, or a name in it leads elsewhere.</exception>
    public static IReadOnlyList<string> Shards(string path)
    {
        const long MaxIndexBytes = 64 << 20;
        const int MaxShards = 10_000;
        try
        {
            JsonSection index = JsonSection.ReadFile(path, MaxIndexBytes) ?? throw new ModelLoadException($"{path}: there is no such file.");
            JsonSection map = index.Object("weight_map") ?? throw index.Missing("weight_map");
            string[] shards = [.. map.StringMembers().Select(member => member.Value).Distinct(StringComparer.Ordinal).Order(StringComparer.Ordinal)];
            foreach (string shard in shards)
                if (!shard.EndsWith(".safetensors", StringComparison.Ordinal) || shard.Contains('/') || HubFileName.Fault(shard) is not null)
                    throw new ModelLoadException($"{path}: it names '{shard}'; it must be the name of a .safetensors file beside it.");
            return shards.Length <= MaxShards ? shards : throw new ModelLoadException($"{path}: it names {shards.Length} files; the limit is {MaxShards}.");
        }
        catch (ModelLoadException fault)
        {
            throw new HubException(HubFault.Refused, fault.Message, fault);
        }
    }

    private static Choice Checked(Choice choice)
    {
        foreach (string name in choice.Files)
            if (HubFileName.Fault(name) is { } fault)
                throw new HubException(HubFault.Refused, $"the file '{Shown(name)}' {fault}: such a name is not taken from a hub.");
        return choice;
    }

    private static string[][] Fitting(IReadOnlyList<string[]> models, string wanted)
    {
        if (wanted.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase))
        {
            // A part of a split model means the model; a name without its folders is enough where it is the only one.
            string[][] exact = [.. models.Where(model => model.Contains(wanted))];
            return exact.Length > 0 ? exact : [.. models.Where(model => model.Any(file => file.EndsWith("/" + wanted, StringComparison.Ordinal)))];
        }
        return [.. models.Where(model => HasLabel(SplitEnd().Replace(model[0], ".gguf")[..^".gguf".Length], wanted))];
    }

    // A label begins and ends where a word of the name does: Q4_K is not in Q4_K_M. One that only a longer prefix tells apart (UD-Q4_K_M) is another.
    private static bool HasLabel(string stem, string wanted) =>
        stem.Split('/').Any(part => part.Equals(wanted, StringComparison.OrdinalIgnoreCase)
            || part.EndsWith("-" + wanted, StringComparison.OrdinalIgnoreCase) && !part.EndsWith("-UD-" + wanted, StringComparison.OrdinalIgnoreCase)
            || part.EndsWith("." + wanted, StringComparison.OrdinalIgnoreCase));

    private static bool IsBeside(string name) => name.Contains("mmproj", StringComparison.OrdinalIgnoreCase) || name.Contains("imatrix", StringComparison.OrdinalIgnoreCase);

    private static bool IsPickle(string name) => Path.GetExtension(name).ToUpperInvariant() is ".BIN" or ".PT" or ".PTH" or ".CKPT" or ".PKL";

    private static string Listed(IReadOnlyList<string[]> models) => models.Count == 0 ? "; it has none at all" : "; there are " + Named(models);

    private static string Named(IReadOnlyList<string[]> models) => string.Join(", ", models.Take(MostNamed).Select(model => Shown(model[0]))) + (models.Count > MostNamed ? ", …" : "");

    private static string Shown(string name) => new([.. name.Take(120).Select(letter => char.IsControl(letter) ? '?' : letter)]);

    [GeneratedRegex(@"-(?<number>\d{5})-of-(?<count>\d{5})\.gguf$", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex SplitEnd();

    [GeneratedRegex(@"(?<![A-Za-z0-9])((UD-)?I?Q[0-9]+(_[A-Z0-9]+)*|T?BF16|F16|F32|FP16|MXFP4|TQ[0-9]_[0-9])(?![A-Za-z0-9])", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Label();
}
