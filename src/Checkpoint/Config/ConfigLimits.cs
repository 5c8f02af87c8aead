namespace TpServe.Checkpoint.Config;

/// <summary>What sizes a model may have, and the rules between them, for either kind of file.</summary>
internal static class ConfigLimits
{
    public const int MaxSize = int.MaxValue, MaxLayers = 1024, MaxHeads = 1 << 16, MaxHeadDim = 1 << 16;
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
        CheckRope(config.Rope, config, file);
        if (config.LocalRope is { } local)
            CheckRope(local, config, file);
        return config;
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
