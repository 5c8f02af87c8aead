namespace TpServe.Checkpoint.Config;

/// <summary>What sizes a model may have, and the rules between them, for either kind of file.</summary>
internal static class ConfigLimits
{
    public const int MaxSize = int.MaxValue, MaxLayers = 1024, MaxHeads = 1 << 16, MaxHeadDim = 1 << 16, MaxExperts = 4096, MaxExpertsPerToken = 64;
    public const double MaxFactor = 1e9, MaxTheta = 1e30, MaxEpsilon = 1;

    /// <summary>The least positive number a factor may be.</summary>
    public const double Tiny = 1e-30;

    /// <summary>Checks what one key alone cannot tell.</summary>
    /// <param name="config">Read with every number in its own range.</param>
    /// <param name="file">For messages.</param>
    /// <param name="headsKey">The file's name of the query heads.</param>
    /// <param name="kvHeadsKey">The file's name of the key-value heads.</param>
    public static ModelConfig Check(ModelConfig config, string file, string headsKey, string kvHeadsKey)
    {
        if (config.Heads % config.KvHeads != 0)
            throw new ModelLoadException($"{file}: '{headsKey}' is {config.Heads}, not a multiple of '{kvHeadsKey}', which is {config.KvHeads}.");
        if ((long)config.Heads * config.HeadDim > MaxSize)
            throw new ModelLoadException($"{file}: {config.Heads} heads of {config.HeadDim} elements are {(long)config.Heads * config.HeadDim} elements; the limit is {MaxSize}.");
        if (config.Latent is { } latent)
            CheckLatent(latent, config, file);
        CheckRope(config.Rope, config, file);
        if (config.LocalRope is { } local)
            CheckRope(local, config, file);
        return config;
    }

    /// <summary>Checks the numbers of a mixture against each other.</summary>
    public static ExpertsConfig Check(ExpertsConfig experts, string file)
    {
        int inGroup = experts.Groups > 0 ? experts.Count / experts.Groups : 0;
        if (experts.Count is < 1 or > MaxExperts)
            throw Fault($"there are {experts.Count} experts; it must be 1 to {MaxExperts}");
        if (experts.PerToken < 1 || experts.PerToken > Math.Min(experts.Count, MaxExpertsPerToken))
            throw Fault($"a token goes through {experts.PerToken} experts of {experts.Count}; it must be 1 to {Math.Min(experts.Count, MaxExpertsPerToken)}");
        if (experts.Groups < 1 || experts.Count % experts.Groups != 0)
            throw Fault($"{experts.Count} experts are not {experts.Groups} groups of one size");
        if (experts.TopGroups < 1 || experts.TopGroups > experts.Groups)
            throw Fault($"a token takes experts of {experts.TopGroups} groups of {experts.Groups}");
        if (experts.PerToken > (long)experts.TopGroups * inGroup)
            throw Fault($"a token goes through {experts.PerToken} experts, but its {experts.TopGroups} groups have {(long)experts.TopGroups * inGroup}");
        if ((long)experts.Count * Math.Max(experts.Intermediate, experts.SharedIntermediate) > MaxSize)
            throw Fault($"{experts.Count} experts of {experts.Intermediate} columns are more than {MaxSize} together");
        return experts;

        ModelLoadException Fault(string message) => new($"{file}: {message}.");
    }

    private static void CheckLatent(LatentConfig latent, ModelConfig config, string file)
    {
        int widest = Math.Max(latent.QueryDim, latent.KeyValueDim);
        if ((long)config.Heads * widest > MaxSize)
            throw new ModelLoadException($"{file}: {config.Heads} heads of {widest} elements are {(long)config.Heads * widest} elements; the limit is {MaxSize}.");
        if (latent.RopeDim % 2 != 0 || config.Rope.RotaryDim != latent.RopeDim)
            throw new ModelLoadException($"{file}: {config.Rope.RotaryDim} elements are rotated; latent attention has {latent.RopeDim} for it, which must be all of them and an even number.");
        if (config.Rope.Scaling is RopeScaling.LongRope)
            throw new ModelLoadException($"{file}: RoPE scaling {config.Rope.Scaling} is not served with latent attention.");
    }

    private static void CheckRope(RopeConfig rope, ModelConfig config, string file)
    {
        if (rope.RotaryDim < 2 || rope.RotaryDim % 2 != 0 || rope.RotaryDim > config.HeadDim)
            throw new ModelLoadException($"{file}: {rope.RotaryDim} elements of a head of {config.HeadDim} are rotated; it must be an even number from 2 to the head's size.");
        CheckFactors(rope.ShortFactors, "short");
        CheckFactors(rope.LongFactors, "long");

        void CheckFactors(IReadOnlyList<float> factors, string name)
        {
            bool needed = rope.Scaling is RopeScaling.LongRope || (rope.Scaling is RopeScaling.Factors && name == "short");
            if (needed && factors.Count != rope.RotaryDim / 2)
                throw new ModelLoadException($"{file}: RoPE scaling {rope.Scaling} has {factors.Count} {name} factors; {rope.RotaryDim / 2} are needed, one for each rotated pair.");
        }
    }
}
