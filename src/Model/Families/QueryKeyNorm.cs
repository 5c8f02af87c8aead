namespace TpServe.Model.Families;

/// <summary>Which values of queries and keys are normalised together.</summary>
public enum QueryKeyNorm
{
    /// <summary>None are.</summary>
    None,

    /// <summary>Those of one head.</summary>
    PerHead,

    /// <summary>Those of all heads.</summary>
    AllHeads,
}
