namespace TpServe.Gateway.Commands.Doctor;

/// <summary>The result of one check.</summary>
/// <param name="Check">What was looked at.</param>
/// <param name="Verdict">How it is.</param>
/// <param name="Text">One sentence with value and limit.</param>
/// <param name="Fix">The line to change; empty where nothing is to be done.</param>
internal sealed record Finding(string Check, Verdict Verdict, string Text, string Fix)
{
    public static Finding Ok(string check, string text) => new(check, Verdict.Ok, text, "");

    public static Finding Warn(string check, string text, string fix) => new(check, Verdict.Warn, text, fix);

    public static Finding Fail(string check, string text, string fix) => new(check, Verdict.Fail, text, fix);
}
