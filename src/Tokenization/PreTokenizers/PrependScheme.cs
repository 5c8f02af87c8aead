namespace TpServe.Tokenization.PreTokenizers;

/// <summary>Where Metaspace puts its mark before a text.</summary>
internal enum PrependScheme
{
    /// <summary>Before every piece between added tokens.</summary>
    Always,

    /// <summary>Before the first piece only.</summary>
    First,

    /// <summary>Nowhere.</summary>
    Never,
}
