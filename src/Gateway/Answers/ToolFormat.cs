namespace TpServe.Gateway.Answers;

/// <summary>How the models of one family write calls: Begin, then (CallBegin, body, CallEnd) with Separator between, then End.</summary>
/// <remarks>
/// Marks are as the model is to write them; what it does write may have other white space around them. <see cref="AnswerParser"/> reads a format,
/// <see cref="CallGrammar"/> makes a model keep to it, <see cref="CallWriter"/> writes calls of earlier turns where the template does not.
/// </remarks>
/// <param name="Name">For tests and reports.</param>
/// <param name="Shown">All of these stand in the templates of such models.</param>
/// <param name="Body">What a call says.</param>
internal sealed record ToolFormat(string Name, IReadOnlyList<string> Shown, CallBody Body)
{
    /// <summary>Opens the calls of an answer.</summary>
    public Mark Begin { get; init; } = "";

    /// <summary>Closes them.</summary>
    public Mark End { get; init; } = "";

    /// <summary>Opens each call.</summary>
    public Mark CallBegin { get; init; } = "";

    /// <summary>Closes it.</summary>
    public Mark CallEnd { get; init; } = "";

    /// <summary>Stands between two calls.</summary>
    public string Separator { get; init; } = "";

    /// <summary>Marks that may stand before calls that have none of their own.</summary>
    public IReadOnlyList<Mark> Before { get; init; } = [];

    /// <summary>A mark tells calls from text; without one they are told by their form, at the beginning of the answer.</summary>
    public bool IsMarked => !Begin.IsEmpty || !CallBegin.IsEmpty;

    /// <summary>What tells that calls begin.</summary>
    public Mark Trigger => Begin.IsEmpty ? CallBegin : Begin;

    /// <summary>Every mark of the format.</summary>
    public IEnumerable<Mark> Marks => [Begin, End, CallBegin, CallEnd, .. Before, .. Body.Marks];
}

/// <summary>What one call says between its marks.</summary>
internal abstract record CallBody
{
    /// <summary>Marks within it.</summary>
    public virtual IEnumerable<Mark> Marks => [];

    /// <summary>An object with a name and arguments; several may be a list.</summary>
    /// <param name="NameKey">The member that holds the function's name.</param>
    /// <param name="ArgumentsKey">The member that holds its arguments.</param>
    /// <param name="IsList">Calls are written as a list even where there is one.</param>
    public sealed record Json(string NameKey = "name", string ArgumentsKey = "arguments", bool IsList = false) : CallBody;

    /// <summary>The name, a mark, and the arguments as an object.</summary>
    public sealed record Named(Mark AfterName) : CallBody
    {
        /// <summary>Stands before the name.</summary>
        public string Prefix { get; init; } = "";

        /// <summary>A number of the call follows the name, after a colon.</summary>
        public bool IsNumbered { get; init; }

        /// <summary>An id of the call may follow the name, after this mark.</summary>
        public Mark BeforeId { get; init; } = "";

        /// <inheritdoc/>
        public override IEnumerable<Mark> Marks => [AfterName, BeforeId];
    }

    /// <summary>The name, a mark, and each argument between marks, texts as they are and all else as JSON.</summary>
    public sealed record Tagged(Mark AfterName, Mark ArgumentBegin, Mark AfterKey, Mark ArgumentEnd) : CallBody
    {
        /// <inheritdoc/>
        public override IEnumerable<Mark> Marks => [AfterName, ArgumentBegin, AfterKey, ArgumentEnd];
    }
}

/// <summary>The formats that are known, one row a family.</summary>
internal static class ToolFormats
{
    /// <summary>For models whose templates show no format that is known: a JSON object a call, each on its line.</summary>
    public static ToolFormat Generic { get; } = new("generic", [], new CallBody.Json()) { Separator = "\n", Before = ["```json"], };

    /// <summary>gpt-oss: calls are messages of their own (<see cref="HarmonyParser"/>).</summary>
    public static ToolFormat Harmony { get; } = new("harmony", ["<|channel|>", "<|message|>"], new CallBody.Named(" <|constrain|>json<|message|>") { Prefix = "functions." })
    {
        CallBegin = "<|channel|>commentary to=",
        Separator = "<|call|><|start|>assistant",
    };

    /// <summary>The first whose marks a template shows is the model's: the special ones stand before those whose marks they share.</summary>
    public static IReadOnlyList<ToolFormat> All { get; } =
    [
        Harmony,
        new("deepseek-r1", ["<｜tool▁calls▁begin｜>", "```json"], new CallBody.Named("\n```json\n"))
        {
            Begin = "<｜tool▁calls▁begin｜>", CallBegin = "<｜tool▁call▁begin｜>function<｜tool▁sep｜>", CallEnd = "\n```<｜tool▁call▁end｜>", Separator = "\n", End = "<｜tool▁calls▁end｜>",
        },
        new("deepseek-v3.1", ["<｜tool▁calls▁begin｜>"], new CallBody.Named("<｜tool▁sep｜>"))
        {
            Begin = "<｜tool▁calls▁begin｜>", CallBegin = "<｜tool▁call▁begin｜>", CallEnd = "<｜tool▁call▁end｜>", End = "<｜tool▁calls▁end｜>",
        },
        new("kimi-k2", ["<|tool_calls_section_begin|>"], new CallBody.Named("<|tool_call_argument_begin|>") { Prefix = "functions.", IsNumbered = true })
        {
            Begin = "<|tool_calls_section_begin|>", CallBegin = "<|tool_call_begin|>", CallEnd = "<|tool_call_end|>", End = "<|tool_calls_section_end|>",
        },
        new("minimax-m2", ["<minimax:tool_call>"], new CallBody.Tagged("\">\n", "<parameter name=\"", "\">", "</parameter>\n"))
        {
            Begin = "<minimax:tool_call>\n", CallBegin = "<invoke name=\"", CallEnd = "</invoke>\n", End = "</minimax:tool_call>",
        },
        new("qwen3-coder", ["<function=", "<parameter="], new CallBody.Tagged(">\n", "<parameter=", ">\n", "\n</parameter>\n"))
        {
            CallBegin = "<tool_call>\n<function=", CallEnd = "</function>\n</tool_call>", Separator = "\n",
        },
        new("functionary", ["<function="], new CallBody.Named(">")) { CallBegin = "<function=", CallEnd = "</function>" },
        new("glm", ["<tool_call>", "<arg_key>"], new CallBody.Tagged("\n", "<arg_key>", "</arg_key>\n<arg_value>", "</arg_value>\n"))
        {
            CallBegin = "<tool_call>", CallEnd = "</tool_call>", Separator = "\n",
        },
        new("hermes", ["<tool_call>"], new CallBody.Json()) { CallBegin = "<tool_call>\n", CallEnd = "\n</tool_call>", Separator = "\n" },
        new("granite", ["<|tool_call|>"], new CallBody.Json(IsList: true)) { Begin = "<|tool_call|>" },
        new("nemotron", ["<TOOLCALL>"], new CallBody.Json(IsList: true)) { Begin = "<TOOLCALL>", End = "</TOOLCALL>" },
        new("apriel", ["<tool_calls>"], new CallBody.Json(IsList: true)) { Begin = "<tool_calls>", End = "</tool_calls>" },
        new("mistral-ids", ["[TOOL_CALLS]", "[CALL_ID]", "[ARGS]"], new CallBody.Named("[ARGS]") { BeforeId = "[CALL_ID]" }) { CallBegin = "[TOOL_CALLS]" },
        new("mistral-args", ["[TOOL_CALLS]", "[ARGS]"], new CallBody.Named("[ARGS]")) { CallBegin = "[TOOL_CALLS]" },
        new("mistral", ["[TOOL_CALLS]"], new CallBody.Json(IsList: true)) { Begin = "[TOOL_CALLS]" },
        new("command-r7b", ["<|START_ACTION|>"], new CallBody.Json("tool_name", "parameters", IsList: true)) { Begin = "<|START_ACTION|>", End = "<|END_ACTION|>" },
        new("command-r", ["Action:", "```json", "tool_name"], new CallBody.Json("tool_name", "parameters", IsList: true)) { Begin = "Action: ```json\n", End = "\n```" },
        new("gigachat", ["function call", "<|role_sep|>"], new CallBody.Json()) { CallBegin = "<|message_sep|>\n\nfunction call<|role_sep|>\n" },
        new("llama3", ["<|start_header_id|>", "\"parameters\": "], new CallBody.Json(ArgumentsKey: "parameters")) { Separator = "; ", Before = ["<|python_tag|>"] },
    ];
}
