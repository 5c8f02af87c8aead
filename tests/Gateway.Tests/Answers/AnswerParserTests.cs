using NUnit.Framework;
using TpServe.Gateway.Answers;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Tests.Answers;

/// <summary>What each format's parser makes of outputs, however they are cut.</summary>
public sealed class AnswerParserTests
{
    private static readonly ReasoningMarks s_think = ReasoningMarks.All.Single(marks => marks.Name == "think");

    private static IEnumerable<TestCaseData> Formats() => ToolFormats.All.Append(ToolFormats.Generic).Select(format => new TestCaseData(format.Name));

    [TestCaseSource(nameof(Formats))]
    public void Calls_AsTheFormatWritesThem_AreRead(string name)
    {
        ToolFormat format = Format(name);
        MessageToolCall[] calls = [new(null, "get_weather", """{"location": "Paris, \"France\" \n ü", "unit": "celsius"}"""), new(null, "add", """{"a": -1.5e3, "b": 2, "tags": ["x", "</", "{"]}""")];
        string before = format.IsMarked && name != "harmony" ? "Let me see. " : "";
        if (format.Body is CallBody.Tagged)
            calls[0] = calls[0] with { Arguments = """{"location": "Paris, <b>\n ü", "unit": "celsius"}""" };
        foreach (MessageToolCall[] some in (MessageToolCall[][])[[calls[0]], [calls[1]], calls])
        {
            Parsed parsed = Parsed.OfEveryCut(() => Parser(format), before + CallWriter.Write(format, some));
            Assert.That(parsed.Calls.Select(call => (call.Name, Plain(call.Arguments))), Is.EqualTo(some.Select(call => (call.Name, Plain(call.Arguments)))).AsCollection);
            Assert.That((parsed.Text, parsed.Reasoning), Is.EqualTo((before.TrimEnd(), "")));
            Assert.That(parsed.Calls.Select(call => call.Id), Is.EqualTo(some.Select((_, index) => $"id{index}")));
            if (format.Body is not CallBody.Tagged)
                Assert.That(parsed.Calls.Select(call => call.Arguments), Is.EqualTo(some.Select(call => call.Arguments)), "arguments are the model's own text");
        }
    }

    [TestCaseSource(nameof(Formats))]
    public void Calls_CutShort_KeepWhatHasCome(string name)
    {
        ToolFormat format = Format(name);
        string whole = CallWriter.Write(format, [new MessageToolCall(null, "add", """{"a": 1, "b": 2}""")]);
        for (int length = 0; length < whole.Length; length++)
        {
            Parsed parsed = Parsed.OfEveryCut(() => Parser(format), whole[..length]);
            Assert.That(parsed.Calls.Count, Is.LessThanOrEqualTo(1));
            if (parsed.Calls.Count == 0 && name != "harmony")
                Assert.That(parsed.Text, Is.EqualTo(whole[..length]), "what is no call is text");
        }
    }

    // Nothing that is not a call is lost, and nothing throws.
    [TestCase("hermes", "<tool_call>\n{\"name\": \"nobody\", \"arguments\": {}}\n</tool_call>", "<tool_call>\n{\"name\": \"nobody\", \"arguments\": {}}\n</tool_call>")]
    [TestCase("hermes", "<tool_call>soon</tool_call>", "<tool_call>soon</tool_call>")]
    [TestCase("hermes", "a <tool_cal> b <tool_call", "a <tool_cal> b <tool_call")]
    [TestCase("hermes", "<tool_call>{\"name\": 5}", "<tool_call>{\"name\": 5}")]
    [TestCase("hermes", "<tool_call>{\"name\": \"add\", \"arguments\": [1]}", "<tool_call>{\"name\": \"add\", \"arguments\": [1]}")]
    [TestCase("hermes", "<tool_call>{\"why\": 1, \"name\": \"add\"}", "<tool_call>{\"why\": 1, \"name\": \"add\"}")]
    [TestCase("hermes", "  spaced  ", "  spaced  ")]
    [TestCase("llama3", "{\"temperature\": 5}", "{\"temperature\": 5}")]
    [TestCase("llama3", "{\"name\": \"Bob\", \"parameters\": {}}", "{\"name\": \"Bob\", \"parameters\": {}}")]
    [TestCase("llama3", "See: {\"name\": \"add\", \"parameters\": {}}", "See: {\"name\": \"add\", \"parameters\": {}}")]
    [TestCase("llama3", "<|python_tag|>brave_search.call(query=\"x\")", "<|python_tag|>brave_search.call(query=\"x\")")]
    [TestCase("generic", "```json\n[1, 2]\n```", "```json\n[1, 2]\n```")]
    [TestCase("mistral", "[TOOL_CALLS] none", "[TOOL_CALLS] none")]
    [TestCase("mistral-args", "[TOOL_CALLS]add[ARGS]5", "[TOOL_CALLS]add[ARGS]5")]
    [TestCase("granite", "<|tool_call|>[]", "<|tool_call|>[]")]
    [TestCase("qwen3-coder", "<tool_call>\n<function=nobody>\n", "<tool_call>\n<function=nobody>\n")]
    [TestCase("deepseek-v3.1", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>add<｜tool▁call▁end｜>", "<｜tool▁calls▁begin｜><｜tool▁call▁begin｜>add<｜tool▁call▁end｜>")]
    [TestCase("harmony", "plain words", "plain words")]
    [TestCase("harmony", "<|channel|>commentary to=functions.nobody<|message|>{}", "{}")]
    public void Text_ThatIsNoCall_IsText(string name, string output, string text)
    {
        Parsed parsed = Parsed.OfEveryCut(() => Parser(Format(name)), output);
        Assert.That((parsed.Text, parsed.Calls.Count), Is.EqualTo((text, 0)));
    }

    [TestCase("hermes", "<tool_call>{\"arguments\":{\"a\":1,\"b\":2},\"name\":\"add\"}</tool_call>", "add{\"a\":1,\"b\":2}", "")] // name last
    [TestCase("hermes", "<tool_call>{\"name\":\"add\"}</tool_call>", "add{}", "")]
    [TestCase("hermes", "<tool_call>{\"name\":\"add\",\"arguments\":null}</tool_call>", "add{}", "")]
    [TestCase("hermes", "<tool_call>{\"name\":\"add\",\"arguments\":\"{\\\"a\\\": 1}\"}</tool_call>", "add{\"a\": 1}", "")] // JSON in a string
    [TestCase("hermes", "<tool_call>{\"id\":\"x\",\"type\":\"function\",\"name\":\"add\",\"arguments\":{}}", "add{}", "")] // not closed
    [TestCase("hermes", "<tool_call>{\"name\":\"add\",\"arguments\":{}}</tool_call>\n\nDone.", "add{}", "Done.")]
    [TestCase("hermes", "<tool_call>{\"name\":\"add\",\"arguments\":{}}</tool_call><tool_call>oops", "add{}", "<tool_call>oops")]
    [TestCase("hermes", "<tool_call>{\"name\":\"add\",\"arguments\":{\"a\": oops}}", "add{\"a\": ", "oops}}")]
    [TestCase("llama3", "<|python_tag|>{\"name\": \"add\", \"parameters\": {\"a\": 1}}", "add{\"a\": 1}", "")]
    [TestCase("llama3", "\n{\"type\":\"function\",\"name\":\"add\",\"parameters\":{}};\n{\"name\":\"add\",\"parameters\":{\"b\":3}}", "add{} add{\"b\":3}", "")]
    [TestCase("llama3", "{\"name\":\"add\",\"parameters\":{}} and {\"name\":\"add\",\"parameters\":{}}", "add{}", "and {\"name\":\"add\",\"parameters\":{}}")]
    [TestCase("generic", "```json\n{\"name\": \"add\", \"arguments\": {\"a\": 1}}\n```", "add{\"a\": 1}", "```")]
    [TestCase("generic", "[{\"name\": \"add\", \"arguments\": {}}, {\"name\": \"add\", \"arguments\": {}}]", "add{} add{}", "")]
    [TestCase("mistral", "[TOOL_CALLS] [{\"name\": \"add\", \"arguments\": {}, \"id\": \"a1b2c3d4e\"}]", "add{}", "")]
    [TestCase("mistral-ids", "[TOOL_CALLS]add[CALL_ID]a1b2c3d4e[ARGS]{\"a\": 1}[TOOL_CALLS]add[ARGS]{}", "add{\"a\": 1} add{}", "")]
    [TestCase("granite", "<|tool_call|>{\"name\": \"add\", \"arguments\": {}}", "add{}", "")] // no list
    [TestCase("qwen3-coder", "<tool_call>\n<function=add>\n<parameter=a>\n1.5\n</parameter>\n<parameter=tags>\n[\"x\"]\n</parameter>\n</function>\n</tool_call>", "add{\"a\": 1.5, \"tags\": [\"x\"]}", "")]
    [TestCase("qwen3-coder", "<tool_call><function=get_weather><parameter=location>12</parameter></function></tool_call>", "get_weather{\"location\": \"12\"}", "")] // a text by its schema
    [TestCase("harmony", "<|channel|>analysis<|message|>Hm.<|end|><|start|>assistant<|channel|>commentary to=functions.add <|constrain|>json<|message|>{\"a\":1}", "add{\"a\":1}", "")]
    [TestCase("harmony", "<|channel|>commentary<|message|>I'll look.<|end|><|start|>assistant to=functions.add<|channel|>commentary json<|message|>{}<|call|>", "add{}", "I'll look.")]
    public void Output_WithCalls_HasThemAndTheText(string name, string output, string calls, string text)
    {
        Parsed parsed = Parsed.OfEveryCut(() => Parser(Format(name)), output);
        Assert.That((string.Join(' ', parsed.Said), parsed.Text), Is.EqualTo((calls, text)));
    }

    [TestCase(false, "<think>\nI see.\n\n</think>\n\nYes.", "I see.", "Yes.")]
    [TestCase(true, "I see. \n</think>\n\nYes. \n", "I see.", "Yes. \n")]
    [TestCase(true, "I see", "I see", "")] // cut short
    [TestCase(false, "Yes <think>no</think>", "", "Yes <think>no</think>")]
    [TestCase(false, "  Yes.", "", "  Yes.")]
    [TestCase(false, "<think></think>Yes.", "", "Yes.")]
    [TestCase(true, "a</thin</think>b", "a</thin", "b")]
    [TestCase(false, "<think>a<tool_call>b</think>", "a<tool_call>b", "")]
    public void Thoughts_OfAModel_AreToldApart(bool inside, string output, string reasoning, string text)
    {
        foreach (ToolFormat? format in (ToolFormat?[])[null, Format("hermes")])
        {
            Parsed parsed = Parsed.OfEveryCut(() => new AnswerParser(s_think, inside, format, new ToolArguments(Parsed.Tools), [], call => $"id{call}"), output);
            Assert.That((parsed.Reasoning, parsed.Text, parsed.Calls.Count), Is.EqualTo((reasoning, text, 0)));
        }
    }

    [Test]
    public void Thoughts_AndCalls_AreToldApart()
    {
        Parsed parsed = Parsed.OfEveryCut(
            () => new AnswerParser(s_think, true, Format("hermes"), new ToolArguments(Parsed.Tools), [], call => $"id{call}"),
            "Add them.\n</think>\n\n<tool_call>\n{\"name\": \"add\", \"arguments\": {\"a\": 1, \"b\": 2}}\n</tool_call>");
        Assert.That((parsed.Reasoning, parsed.Text, string.Join(' ', parsed.Said)), Is.EqualTo(("Add them.", "", "add{\"a\": 1, \"b\": 2}")));
    }

    [Test]
    public void Marks_ThatAreSpecialTokens_AreNeverText()
    {
        Parsed parsed = Parsed.OfEveryCut(
            () => new AnswerParser(null, false, Format("mistral"), new ToolArguments(Parsed.Tools), ["[TOOL_CALLS]"], call => $"id{call}"), "a [TOOL_CALLS] none [TOOL_CALLS]");
        Assert.That((parsed.Text, parsed.Calls.Count), Is.EqualTo(("a  none ", 0)));
    }

    [Test]
    public void Output_OfAnyMarks_LosesNothingAndThrowsNothing()
    {
        string[] pieces = ["<tool_call>", "</tool_call>", "{\"name\": \"add\"", ", \"arguments\": {", "\"a\": 1", "}", "}", "\n", " ", "x", "<", "\"", "[", "]", ",", "<think>", "</think>", "\\", "[TOOL_CALLS]", "<|channel|>", "<|message|>", "<function=add>", "<parameter=a>", "</parameter>", ";"];
        foreach (ToolFormat format in ToolFormats.All.Append(ToolFormats.Generic))
            for (int seed = 0; seed < 60; seed++)
            {
                Random random = new(seed);
                string output = string.Concat(Enumerable.Range(0, random.Next(1, 14)).Select(_ => pieces[random.Next(pieces.Length)]));
                Parsed parsed = Parsed.OfEveryCut(() => Parser(format), output);
                int letters = output.Count(letter => letter == 'x'), told = (parsed.Text + string.Concat(parsed.Said)).Count(letter => letter == 'x');
                if (format.Name != "harmony") // whose headers are not told
                    Assert.That(told, Is.EqualTo(letters), $"{format.Name}: {output}");
            }
    }

    private static IAnswerParser Parser(ToolFormat format)
    {
        ToolArguments tools = new(Parsed.Tools);
        return format == ToolFormats.Harmony
            ? new HarmonyParser(tools, call => $"id{call}")
            : new AnswerParser(null, false, format, tools, [], call => $"id{call}");
    }

    private static ToolFormat Format(string name) => ToolFormats.All.Append(ToolFormats.Generic).Single(format => format.Name == name);

    private static string Plain(string json) => System.Text.Json.JsonSerializer.Serialize(System.Text.Json.JsonSerializer.Deserialize<System.Text.Json.JsonElement>(json));
}
