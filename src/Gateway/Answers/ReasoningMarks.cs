namespace TpServe.Gateway.Answers;

/// <summary>How a model sets what it thinks apart from its answer.</summary>
/// <param name="Name">For tests and reports.</param>
/// <param name="Shown">All of these stand in the templates of such models.</param>
/// <param name="Open">Begins the thoughts; only at the beginning of an output.</param>
/// <param name="Close">Ends them.</param>
internal sealed record ReasoningMarks(string Name, IReadOnlyList<string> Shown, Mark Open, Mark Close)
{
    /// <summary>Marks around or in the answer that are no part of it.</summary>
    public IReadOnlyList<Mark> Around { get; init; } = [];

    /// <summary>The first whose marks a template shows is the model's.</summary>
    public static IReadOnlyList<ReasoningMarks> All { get; } =
    [
        new("command-r", ["<|START_THINKING|>"], "<|START_THINKING|>", "<|END_THINKING|>") { Around = ["<|START_RESPONSE|>", "<|END_RESPONSE|>"] },
        new("magistral", ["[THINK]", "[/THINK]"], "[THINK]", "[/THINK]"),
        new("seed", ["<seed:think>"], "<seed:think>", "</seed:think>"),
        new("apriel", ["Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]"], "Here are my reasoning steps:", "[BEGIN FINAL RESPONSE]") { Around = ["[END FINAL RESPONSE]"] },
        new("granite", ["<think></think>", "<response></response>"], "<think>", "</think>") { Around = ["<response>", "</response>"] },
        new("granite-words", ["Here is my thought process:", "Here is my response:"], "Here is my thought process:", "Here is my response:"),
        new("gemma", ["<|channel>thought", "<channel|>"], "<|channel>thought", "<channel|>"),
        new("think", ["</think>"], "<think>", "</think>"),
    ];
}
