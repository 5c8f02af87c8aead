using System.Globalization;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Model.Families;
using TpServe.Sharding;

namespace TpServe.Model.Weights;

/// <summary>The tensors a model must have, and the check that a checkpoint has exactly these.</summary>
internal static class ExpectedTensors
{
    public const string Embedding = "model.embed_tokens.weight";
    public const string FinalNorm = "model.norm.weight";
    public const string FinalNormBias = "model.norm.bias";
    public const string Head = "lm_head.weight";

    /// <summary>Buffers that some exporters save although they follow from the config, which is where the tables come from.</summary>
    private static readonly string[] IgnorableEndings =
        ["rotary_emb.inv_freq", "rope_freqs.weight", "rope_factors_long.weight", "rope_factors_short.weight"];

    /// <summary>Name prefix of a block.</summary>
    public static string Block(int layer) => string.Create(CultureInfo.InvariantCulture, $"model.layers.{layer}.");

    /// <summary>Every tensor of the model, whole, in loading order.</summary>
    /// <param name="config">Sizes.</param>
    /// <param name="family">Names.</param>
    /// <param name="found">The file's tensors, which say how experts are stored; null = as the family's own files have them.</param>
    public static IReadOnlyList<ExpectedTensor> Of(ModelConfig config, FamilySpec family, IReadOnlyDictionary<string, TensorInfo>? found = null)
    {
        List<ExpectedTensor> all = [new(Embedding, [config.Vocab, config.Hidden], [WeightRole.Embedding])];
        for (int layer = 0; layer < config.Layers; layer++)
            AddBlock(all, layer, config, family, found);
        all.Add(new(FinalNorm, [config.Hidden], [WeightRole.Replicated]));
        if (config.NormBias)
            all.Add(new(FinalNormBias, [config.Hidden], [WeightRole.Replicated]));
        if (!config.TieEmbeddings)
            all.Add(new(Head, [config.Vocab, config.Hidden], [WeightRole.Head]));
        return all;
    }

    /// <summary>Fails on the first tensor that is missing, has another shape than expected, or has no use.</summary>
    /// <exception cref="ModelLoadException">Names tensor, expected and found.</exception>
    public static void Check(ModelCheckpoint checkpoint, IReadOnlyList<ExpectedTensor> expected, bool tied, FamilySpec? family = null)
    {
        HashSet<string> used = new(StringComparer.Ordinal);
        foreach (ExpectedTensor tensor in expected)
        {
            if (!checkpoint.Tensors.TryGetValue(tensor.Name, out TensorInfo? found))
                throw new ModelLoadException($"{checkpoint.Path}: tensor '{tensor.Name}': expected {Shape(tensor.Shape)}, found no such tensor.");
            // A matrix of one row may be stored as a vector.
            if (!found.Shape.SequenceEqual(tensor.Shape) && !(tensor.Shape is [1, _] && found.Shape.Count == 1 && found.Shape[0] == tensor.Shape[1]))
                throw new ModelLoadException($"{checkpoint.Path}: tensor '{found.FileName}': expected {Shape(tensor.Shape)}, found {Shape(found.Shape)}.");
            used.Add(tensor.Name);
        }
        foreach (TensorInfo found in checkpoint.Tensors.Values)
        {
            bool ignorable = tied && found.Name == Head || IgnorableEndings.Any(ending => found.Name.EndsWith(ending, StringComparison.Ordinal))
                || (family is { IgnoresLaterBlocks: true } && IsOfLaterBlock(found.Name, checkpoint.Config.Layers));
            if (!ignorable && !used.Contains(found.Name))
                throw new ModelLoadException(
                    $"{checkpoint.Path}: tensor '{found.FileName}': expected no tensor of this name in a model of architecture '{checkpoint.Config.Architecture}', found {Shape(found.Shape)}.");
        }
    }

    /// <summary>Rows of a whole matrix that do the work of <paramref name="role"/>.</summary>
    public static int Rows(ModelConfig config, WeightRole role) => role switch
    {
        WeightRole.Embedding or WeightRole.Head => config.Vocab,
        WeightRole.Query => config.Heads * config.QueryDim,
        WeightRole.LatentHeads => config.Heads * config.Latent!.KeyValueDim,
        WeightRole.Key or WeightRole.Value => config.KvHeads * config.HeadDim,
        WeightRole.Gate or WeightRole.Up => config.Intermediate,
        WeightRole.SharedGate or WeightRole.SharedUp => config.Experts!.SharedIntermediate,
        _ => config.Hidden,
    };

    private static void AddBlock(List<ExpectedTensor> all, int layer, ModelConfig config, FamilySpec family, IReadOnlyDictionary<string, TensorInfo>? found)
    {
        string block = Block(layer);
        BlockTensors names = family.Tensors;
        bool qkvBias = config.QkvBias || family.AlwaysQkvBias;
        int queries = Rows(config, WeightRole.Query), keys = Rows(config, WeightRole.Key);

        AddRowNorm(names.AttentionInputNorm);
        if (config.Latent is { } latent)
        {
            all.AddRange(ExpectedLatent.Of(block, config, latent, names, found));
        }
        else if (names.FusedQkv is { } qkv)
        {
            AddLinear(qkv, config.Hidden, qkvBias, WeightRole.Query, WeightRole.Key, WeightRole.Value);
        }
        else
        {
            AddLinear(names.Query, config.Hidden, qkvBias, WeightRole.Query);
            AddLinear(names.Key, config.Hidden, qkvBias, WeightRole.Key);
            AddLinear(names.Value, config.Hidden, qkvBias, WeightRole.Value);
        }
        if (family.QueryKeyNormOf(config) == QueryKeyNorm.PerHead)
        {
            AddNorm(names.QueryNorm, config.HeadDim, WeightRole.Replicated);
            AddNorm(names.KeyNorm, config.HeadDim, WeightRole.Replicated);
        }
        else if (family.QueryKeyNormOf(config) == QueryKeyNorm.AllHeads)
        {
            AddNorm(names.QueryNorm, queries, WeightRole.Query);
            AddNorm(names.KeyNorm, keys, WeightRole.Key);
        }
        if (config.AttentionSinks)
            all.Add(new($"{block}{names.Sinks}", [config.Heads], [WeightRole.Replicated]));
        AddLinear(names.AttentionOutput, config.Heads * config.ValueDim, config.OutputBias, WeightRole.AttentionOutput);
        AddRowNorm(names.AttentionOutputNorm);
        AddRowNorm(names.MlpInputNorm);
        if (config.Experts is { } experts && experts.IsIn(layer))
        {
            all.AddRange(ExpectedExperts.Of(block, config.Hidden, experts, family, found));
            AddRowNorm(names.MlpOutputNorm);
            return;
        }
        if (!config.IsMlpGated)
        {
            AddLinear(names.Up, config.Hidden, config.MlpBias, WeightRole.Up);
        }
        else if (names.FusedGateUp is { } gateUp)
        {
            AddLinear(gateUp, config.Hidden, config.MlpBias, WeightRole.Gate, WeightRole.Up);
        }
        else
        {
            AddLinear(names.Gate, config.Hidden, config.MlpBias, WeightRole.Gate);
            AddLinear(names.Up, config.Hidden, config.MlpBias, WeightRole.Up);
        }
        AddLinear(names.Down, config.Intermediate, config.MlpBias, WeightRole.Down);
        AddRowNorm(names.MlpOutputNorm);

        void AddRowNorm(string? name)
        {
            AddNorm(name, config.Hidden, WeightRole.Replicated);
            if (name is not null && config.NormBias)
                all.Add(new($"{block}{name}.bias", [config.Hidden], [WeightRole.Replicated]));
        }

        void AddNorm(string? name, int length, WeightRole role)
        {
            if (name is not null)
                all.Add(new($"{block}{name}.weight", [length], [role]));
        }

        void AddLinear(string name, int inputs, bool bias, params WeightRole[] roles)
        {
            int rows = roles.Sum(role => Rows(config, role));
            all.Add(new($"{block}{name}.weight", [rows, inputs], roles));
            if (bias)
                all.Add(new($"{block}{name}.bias", [rows], roles is [WeightRole.AttentionOutput or WeightRole.Down] ? [WeightRole.Replicated] : roles));
        }
    }

    private static bool IsOfLaterBlock(string name, int layers) =>
        name.Split('.') is ["model", "layers", string layer, ..] && int.TryParse(layer, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number >= layers;

    private static string Shape(IReadOnlyList<int> shape) => $"[{string.Join(", ", shape)}]";
}

/// <summary>A tensor that the family and the config call for.</summary>
/// <param name="Name">Its Hugging Face name.</param>
/// <param name="Shape">Outermost first.</param>
/// <param name="Roles">What its rows do, in row order: one role, or several where projections are fused.</param>
internal sealed record ExpectedTensor(string Name, IReadOnlyList<int> Shape, IReadOnlyList<WeightRole> Roles);
