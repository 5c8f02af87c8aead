using System.Globalization;
using System.Text.RegularExpressions;
using TpServe.Checkpoint.Config;

namespace TpServe.Checkpoint.Gguf;

/// <summary>A model in a GGUF file, or in the files of a split one.</summary>
internal static partial class GgufCheckpoint
{
    private const int MaxSplits = 999;

    /// <summary>Opens a file; of a split model the first, its siblings are found beside it.</summary>
    /// <param name="path">The file.</param>
    /// <param name="withTokenizer">Read the tokenizer's material too.</param>
    /// <exception cref="ModelLoadException">Something in the files is wrong.</exception>
    public static ModelCheckpoint Open(string path, bool withTokenizer)
    {
        TensorTable table = new();
        try
        {
            // 1. The file and, where it is split, its siblings. Metadata is the first one's.
            MappedFile first = table.Own(MappedFile.Open(path));
            GgufFile header = GgufFile.Read(first);
            List<(MappedFile File, GgufFile Header)> files = [(first, header)];
            foreach (string sibling in Siblings(path, header.Metadata))
            {
                MappedFile file = table.Own(MappedFile.Open(sibling));
                files.Add((file, GgufFile.Read(file)));
            }

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
            TokenizerFiles? tokenizer = withTokenizer ? GgufTokenizer.Read(metadata, required: known) : null;
            return new MappedCheckpoint(path, NameOf(path), table, config, GgufTokenizer.ReadGeneration(metadata), tokenizer, PoolingOf(architecture, metadata));
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

    private static IEnumerable<string> Siblings(string path, GgufMetadata metadata)
    {
        int count = metadata.Int("split.count", 0, MaxSplits) ?? 1;
        if (count <= 1)
            return [];
        Match match = SplitName().Match(path);
        int number = metadata.RequiredInt("split.no", 0, count - 1);
        if (!match.Success || number != 0 || Part(match.Groups[2].Value) != 1 || Part(match.Groups[3].Value) != count)
            throw new ModelLoadException($"{path}: this is part {number + 1} of a model in {count} files; open the first, named like NAME-00001-of-{count:00000}.gguf.");
        return Enumerable.Range(2, count - 1).Select(i => string.Create(CultureInfo.InvariantCulture, $"{match.Groups[1].Value}-{i:00000}-of-{count:00000}.gguf"));

        static int Part(string digits) => int.Parse(digits, CultureInfo.InvariantCulture);
    }

    private static string NameOf(string path)
    {
        Match match = SplitName().Match(path);
        return Path.GetFileNameWithoutExtension(match.Success ? match.Groups[1].Value + ".gguf" : path);
    }

    [GeneratedRegex(@"^(.*)-(\d{5})-of-(\d{5})\.gguf$", RegexOptions.IgnoreCase | RegexOptions.CultureInvariant | RegexOptions.Singleline)]
    private static partial Regex SplitName();
}
