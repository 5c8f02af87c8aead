namespace TpServe.Gateway.Commands.Doctor;

/// <summary>What a check found.</summary>
internal enum Verdict
{
    /// <summary>As it should be.</summary>
    Ok,

    /// <summary>It serves, but slower, less safely, or not from everywhere.</summary>
    Warn,

    /// <summary>It does not serve as asked.</summary>
    Fail,
}
