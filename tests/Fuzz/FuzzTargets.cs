using TpServe.Fuzz.Targets;

namespace TpServe.Fuzz;

/// <summary>Every kind of input that comes from outside.</summary>
internal static class FuzzTargets
{
    /// <summary>The shares of all of them together.</summary>
    public static int Shares { get; } = All().Sum(target =>
    {
        using (target)
            return target.Share;
    });

    /// <summary>One of each; who takes one ends it.</summary>
    public static IEnumerable<FuzzTarget> All()
    {
        yield return new GgufTarget();
        yield return HubTarget.Safetensors();
        yield return HubTarget.Index();
        yield return HubTarget.Config();
        yield return HubTarget.TokenizerConfig();
        yield return HubTarget.Generation();
        yield return new TokenizerTarget();
        yield return new TemplateTarget();
        yield return new ConversationTarget();
        foreach (BodyTarget body in BodyTarget.All())
            yield return body;
        yield return new ResumeTarget();
    }
}
