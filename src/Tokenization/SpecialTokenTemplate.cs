namespace TpServe.Tokenization;

/// <summary>The ids that a post-processor puts around a text: beginning of text, end, separators.</summary>
internal sealed record SpecialTokenTemplate(IReadOnlyList<int> Before, IReadOnlyList<int> After)
{
    public static SpecialTokenTemplate None { get; } = new([], []);

    /// <summary>This one inside another.</summary>
    public SpecialTokenTemplate Inside(SpecialTokenTemplate outer) => new([.. outer.Before, .. Before], [.. After, .. outer.After]);
}
