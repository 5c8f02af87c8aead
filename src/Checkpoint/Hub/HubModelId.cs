using System.Diagnostics.CodeAnalysis;
using System.Text.RegularExpressions;

namespace TpServe.Checkpoint.Hub;

/// <summary>A model of the hub as people write it: org/name, org/name@revision, org/name:Q4_K_M, org/name@revision:file.gguf.</summary>
/// <param name="Repository">org/name.</param>
/// <param name="Revision">A branch, a tag or a commit; main where none is said.</param>
/// <param name="Selection">A file of the repository, or the label of a quantisation; null = what there is.</param>
public sealed partial record HubModelId(string Repository, string Revision, string? Selection)
{
    /// <summary>The branch that holds where none is named.</summary>
    public const string DefaultRevision = "main";

    /// <summary>What such a text is, for messages.</summary>
    public const string Form = "org/name, org/name:QUANT, org/name:FILE.gguf, with @REVISION after the name where it is not main";

    private const int LongestPart = 96, LongestRevision = 200;

    /// <summary>As it was written, without a revision that goes without saying.</summary>
    public override string ToString() => $"{Repository}{(Revision == DefaultRevision ? "" : "@" + Revision)}{(Selection is null ? "" : ":" + Selection)}";

    /// <summary>Reads one; false where the text is none. Whether a path of that name exists is not its matter.</summary>
    /// <remarks>What ends with .gguf and has no colon is a path: a file was meant, not a repository.</remarks>
    public static bool TryParse(string text, [NotNullWhen(true)] out HubModelId? id)
    {
        ArgumentNullException.ThrowIfNull(text);
        id = null;
        if (Whole().Match(text) is not { Success: true } match)
            return false;
        string repository = match.Groups["repository"].Value;
        string revision = match.Groups["revision"] is { Success: true } at ? at.Value : DefaultRevision;
        string? selection = match.Groups["selection"] is { Success: true } named ? named.Value : null;
        if (!IsRepository(repository) || !IsRevision(revision) || selection is not null && HubFileName.Fault(selection) is not null
            || selection is null && repository.EndsWith(".gguf", StringComparison.OrdinalIgnoreCase))
            return false;
        id = new HubModelId(repository, revision, selection);
        return true;
    }

    /// <summary>Whether a text is org/name by the hub's own rules.</summary>
    public static bool IsRepository(string text) => text.Split('/') is [var organisation, var name] && IsPart(organisation) && IsPart(name) && !name.EndsWith(".git", StringComparison.Ordinal);

    /// <summary>Whether a text can be a branch, a tag or a commit, and so a path below refs/.</summary>
    public static bool IsRevision(string text) => text.Length is > 0 and <= LongestRevision
        && text.Split('/').All(part => part.Length > 0 && part[0] is not ('-' or '.') && part[^1] != '.' && part.All(letter => char.IsAsciiLetterOrDigit(letter) || letter is '-' or '_' or '.'));

    private static bool IsPart(string text) => text.Length is > 0 and <= LongestPart && text.All(letter => char.IsAsciiLetterOrDigit(letter) || letter is '-' or '_' or '.')
        && text[0] is not ('-' or '.') && text[^1] is not ('-' or '.') && !text.Contains("--", StringComparison.Ordinal) && !text.Contains("..", StringComparison.Ordinal);

    [GeneratedRegex("^(?<repository>[^/@:]+/[^/@:]+)(@(?<revision>[^@:]+))?(:(?<selection>.+))?$", RegexOptions.CultureInvariant | RegexOptions.ExplicitCapture)]
    private static partial Regex Whole();
}

/// <summary>Which names of files are taken from a hub: they become paths on this host.</summary>
internal static class HubFileName
{
    private const int LongestName = 1024, LongestPart = 240; // a part and what is appended to it stay below 255

    /// <summary>What is wrong with a name, as it follows it; null where nothing is.</summary>
    public static string? Fault(string name)
    {
        if (name.Length is 0 or > LongestName)
            return $"has {name.Length} letters, of 1..{LongestName}";
        foreach (string part in name.Split('/'))
        {
            if (part.Length is 0 or > LongestPart)
                return "has a part that is empty or too long";
            if (part is "." or "..")
                return "leads out of its folder";
            if (part[^1] is '.' or ' ' || part[0] == ' ')
                return "has a part with a blank or a dot at its end";
            foreach (char letter in part)
                if (char.IsControl(letter) || char.IsSurrogate(letter) || letter is '\\' or ':' or '*' or '?' or '"' or '<' or '>' or '|')
                    return $"holds the character U+{(int)letter:X4}";
        }
        return null;
    }
}
