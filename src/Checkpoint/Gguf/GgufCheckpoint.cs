using System.Globalization;
using System.Text.RegularExpressions;
using TpServe.Checkpoint.Config;

namespace TpServe.Checkpoint.Gguf;

/// <summary>A model in a GGUF file, or in the files of a split one.</summary>
internal static partial class GgufCheckpoint
{
    private const int MaxSplits = 999;

    /// <summary>Opens a file; of a split model any part, the others are found beside it.</summary>
    /// <param name="path">The file.</param>
    /// <param name="withTokenizer">Read the tokenizer's material too.</param>
    /// <exception cref="ModelLoadException">Something in the files is wrong.</exception>
    public static ModelCheckpoint Open(string path, bool withTokenizer)
    {
        TensorTable table = new();
        try
        {
            // 1. The file or, of a split model, all of its parts, whichever was named. Metadata is the first one's.
            List<(MappedFile File, GgufFile Header)> files = OpenParts(path, table);
            GgufFile header = files[0].Header;

            // 2. Architecture, then the tensors under their Hugging Face names. Of an architecture that is refused anyway, the reason to give is
            //    the architecture, not the type of its weights.
            GgufMetadata metadata = header.Metadata;
            string architecture = metadata.String("general.architecture") ?? throw metadata.Missing("general.architecture");
            bool known = GgufNames.Knows(architecture);
            RopeTensors rope = new();
            foreach ((MappedFile file, GgufFile part) in known ? files : [])
                AddTensors(architecture, file, part, table, rope);

            // 3. Facts.
            ModelConfig config = GgufModelConfig.Read(architecture, metadata, table.Tensors, rope);
            List<string> warnings = [];
            TokenizerFiles? tokenizer = withTokenizer ? GgufTokenizer.Read(metadata, required: known, warnings) : null;
            return new MappedCheckpoint(path, NameOf(path), table, config, GgufTokenizer.ReadGeneration(metadata), tokenizer, PoolingOf(architecture, metadata), warnings);
        }
        catch
        {
            table.Dispose();
            throw;
        }
    }

    /// <summary>llama.cpp's numbers. "None" is what it writes for models that are not made to embed.</summary>
    private static PoolingConfig PoolingOf(string architecture, GgufMetadata metadata) => metadata.Int($"{architecture}.pooling_type", int.MinValue, int.MaxValue) switch
    {
        null or -1 or 0 or 3 => PoolingConfig.Default,
        1 => new PoolingConfig(Pooling.Mean),
        2 => new PoolingConfig(Pooling.First),
        4 => new PoolingConfig(Pooling.Last, "pooling by rank"),
        { } other => new PoolingConfig(Pooling.Last, string.Create(CultureInfo.InvariantCulture, $"pooling type {other}")),
    };

    private static void AddTensors(string architecture, MappedFile file, GgufFile header, TensorTable table, RopeTensors rope)
    {
        List<TensorPlace> places = [];
        foreach (GgufTensor tensor in header.Tensors)
        {
            if (tensor.Type is not { } type)
                throw new ModelLoadException($"{file.Path}: tensor '{tensor.Name}' has type {tensor.UnreadTypeName}; supported are {TensorTypes.Supported}.");
            TensorInfo info = new(GgufNames.ToHub(architecture, tensor.Name), type, tensor.Shape, GgufNames.RowOrderOf(architecture, tensor.Name)) { FileName = tensor.Name };
            TensorPlace place = new(info, file, tensor.Start);
            places.Add(place);
            if (!rope.TryTake(place))
                table.Add(place);
        }
        TensorPlace.CheckOverlaps(places);
    }

    /// <summary>The files of a model: the one named, or all parts of the split model whose part it is by its name.</summary>
    public static IReadOnlyList<string> PartsOf(string path)
    {
        Match match = SplitName().Match(path);
        int count = match.Success ? Number(match.Groups[3].Value) : 0;
        return count is < 2 or > MaxSplits
            ? [path]
            : [.. Enumerable.Range(1, count).Select(i => string.Create(CultureInfo.InvariantCulture, $"{match.Groups[1].Value}-{i:00000}-of-{count:00000}{match.Groups[4].Value}"))];
    }

    private static List<(MappedFile File, GgufFile Header)> OpenParts(string path, TensorTable table)
    {
        MappedFile named = table.Own(MappedFile.Open(path));
        GgufFile header = GgufFile.Read(named);
        int count = header.Metadata.Int("split.count", 0, MaxSplits) ?? 1;
        if (count <= 1)
            return [(named, header)];
        int number = header.Metadata.RequiredInt("split.no", 0, count - 1);
        IReadOnlyList<string> paths = PartsOf(path);
        if (paths.Count != count || paths[number] != path)
            throw new ModelLoadException($"{path}: this is part {number + 1} of a model in {count} files; they must be named like NAME-{number + 1:00000}-of-{count:00000}.gguf.");

        List<(MappedFile File, GgufFile Header)> parts = [];
        for (int i = 0; i < count; i++)
        {
            if (i != number && !File.Exists(paths[i]))
                throw new ModelLoadException($"{paths[i]}: there is no such file; it is part {i + 1} of the {count} that {path} belongs to.");
            MappedFile file = i == number ? named : table.Own(MappedFile.Open(paths[i]));
            GgufFile part = i == number ? header : GgufFile.Read(file);
            int? ofCount = part.Metadata.Int("split.count", 0, MaxSplits), no = part.Metadata.Int("split.no", 0, MaxSplits);
            if (ofCount != count || no != i)
                throw new ModelLoadException($"{paths[i]}: expected part {i + 1} of {count}, found part {(no + 1)?.ToString(CultureInfo.InvariantCulture) ?? "of no number"} of {ofCount ?? 1}.");
            parts.Add((file, part));
        }
        int tensors = parts.Sum(part => part.Header.Tensors.Count);
        return parts[0].Header.Metadata.Int("split.tensors.count", 0, int.MaxValue) is { } expected && expected != tensors
            ? throw new ModelLoadException($"{paths[0]}: the {count} parts have {tensors} tensors together, 'split.tensors.count' is {expected}: they are of different models.")
            : parts;
    }

    private static int Number(string digits) => int.Parse(digits, CultureInfo.InvariantCulture);

    private static string NameOf(string path)
    {
        Match match = SplitName().Match(path);
        return Path.GetFileNameWithoutExtension(match.Success ? match.Groups[1].Value + ".gguf" : path);
    }

    [GeneratedRegex(@"^(.*)-(\d{5})-of-(\d{5})(\.gguf)$", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant | RegexOptions.Singleline)]
    private static partial Regex SplitName();
}
