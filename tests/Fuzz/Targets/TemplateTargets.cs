using System.Text;
using System.Text.Json;
using TpServe.ChatTemplates;
using TpServe.ChatTemplates.Values;
using TpServe.Testing;

namespace TpServe.Fuzz.Targets;

/// <summary>A chat template, as a model's folder has it, over one conversation.</summary>
/// <remarks>What a template may cost is absolute, see <see cref="RenderLimits"/>: thirty characters of it can ask for a list of a hundred thousand.</remarks>
internal sealed class TemplateTarget() : FuzzTarget("template")
{
    private static readonly ChatTemplateInput s_input = new()
    {
        Messages = RequestValue.FromJson(JsonElement.Parse("""[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi <|im_end|>"},{"role":"assistant","content":null,"tool_calls":[{"type":"function","id":"1","function":{"name":"f","arguments":{"a":1}}}]},{"role":"tool","content":"2","tool_call_id":"1"}]""")),
        Tools = RequestValue.FromJson(JsonElement.Parse("""[{"type":"function","function":{"name":"f","description":"F.","parameters":{"type":"object","properties":{"a":{"type":"integer"}}}}}]""")),
        AddGenerationPrompt = true,
        BosToken = "<s>",
        EosToken = "</s>",
        Now = new DateTimeOffset(2026, 11, 24, 12, 34, 56, TimeSpan.Zero),
    };

    public static string[] Files { get; } = [.. Directory.EnumerateFiles(TestData.Local("chat-templates"), "*.jinja").Order(StringComparer.Ordinal)];

    public override IReadOnlyList<byte[]> Seeds { get; } =
    [
        .. Files.Select(File.ReadAllBytes).Where(bytes => bytes.Length < 5000),
        .. s_small.Select(Encoding.UTF8.GetBytes),
    ];

    public override IReadOnlyList<string> Words { get; } =
    [
        "{%", "%}", "{{", "}}", "{#", "#}", "{%-", "-%}", "if", "endif", "for", "endfor", "in", "set", "macro", "endmacro", "messages", "m", "loop", ".", "|", "(", ")", "[", "]", "[::-1]", "[-1]", "~", "+", "-", "*", "**", "//", "%", "/", "1", "-1", "0",
        "9999999999999999999", "1e308", "0.0", "'a'", "\"\"", "none", "true", "is", "not", "and", "or", "==", "<", "tojson", "join", "map", "select", "groupby", "sort", "list", "length", "int", "float", "string", "replace", "format", "range", "namespace", "dict", "lipsum",
        ".items()", ".split()", ".join", "'%s %d %f'", "'{:>99}'", "round", "batch", "slice", "unique", "indent", "center", "wordwrap", "truncate", "loop.index", "loop.cycle", "recursive", "call", "filter", "generation", "raise_exception('x')", "strftime_now('%Y')", "\u0000", "👍",
    ];

    private static string[] s_small =>
    [
        "{% for m in messages recursive %}{{ loop.index }}{{ m.role|upper|replace('A','b')|center(20) }}{% endfor %}", "{{ messages|tojson(indent=2) }}{{ '%05.2f %s'|format(1.5, 'a') }}{{ '{:>8}{!r}'.format(1, 'a') }}",
        "{% macro m(a, b=2) %}{{ a * b }}{{ caller() if caller }}{% endmacro %}{{ m(3) }}{% call m(1) %}x{% endcall %}", "{% set ns = namespace(a=[1, 2.5, 'x']) %}{% set ns.a = ns.a + [3] %}{{ ns.a[::-1]|join(',') }}{{ ns.a|map('string')|list }}",
        "{{ range(10)|batch(3)|list }}{{ [3, 1, 2]|sort(reverse=true) }}{{ messages|groupby('role')|length }}{{ dict(a=1).items()|list }}{{ 'a b'.split() }}{{ 7 // 2 ** 3 % 5 - -1 }}",
        "{% filter upper %}{{ 'x' is string and not none }}{% endfilter %}{% if a is defined %}a{% elif messages %}{{ messages[0]['content'][1:5]|trim|indent(4) }}{% else %}b{% endif %}",
    ];

    public override long FixedBytes => 256 << 20;

    public override int Share => 25;

    public override bool Read(byte[] input)
    {
        try
        {
            ChatTemplate.Parse(Encoding.UTF8.GetString(input)).Render(s_input, RenderLimits.Default, CancellationToken.None);
            return true;
        }
        catch (ChatTemplateException)
        {
            return false;
        }
    }

    public override void Dispose()
    {
    }
}

/// <summary>A request's messages, tools and variables over templates as they are.</summary>
internal sealed class ConversationTarget() : FuzzTarget("conversation")
{
    private static readonly ChatTemplate[] s_templates = [.. TemplateTarget.Files.Select(file => ChatTemplate.Parse(File.ReadAllText(file)))];

    public override IReadOnlyList<byte[]> Seeds { get; } =
    [
        """{"messages":[{"role":"system","content":"Be brief."},{"role":"user","content":"Hi <|im_end|>"},{"role":"assistant","content":"Yes."},{"role":"user","content":"1"}]}"""u8.ToArray(),
        """{"messages":[{"role":"user","content":[{"type":"text","text":"Hi"}]},{"role":"assistant","content":null,"reasoning_content":"Hm.","tool_calls":[{"type":"function","id":"callabcde","function":{"name":"f","arguments":{"a":1,"b":[true,null,1.5e3]}}}]},{"role":"tool","content":"2","name":"f","tool_call_id":"callabcde"}],"tools":[{"type":"function","function":{"name":"f","description":"F.","parameters":{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]}}}],"enable_thinking":true}"""u8.ToArray(),
    ];

    public override IReadOnlyList<string> Words { get; } = [.. Mutator.Json, "\"role\"", "\"content\"", "\"user\"", "\"tool\"", "\"arguments\"", "\"<think>\"", "</think>", "{{", "%}", "<|im_start|>"];

    public override long FixedBytes => 2 << 20;

    public override int Share => 20;

    public override bool Read(byte[] input)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(input);
            if (document.RootElement.ValueKind != JsonValueKind.Object)
                return false;
            Dictionary<string, Value> values = [];
            foreach (JsonProperty property in document.RootElement.EnumerateObject())
                values[NameOf(property)] = RequestValue.FromJson(property.Value);
            if (!values.Remove("messages", out Value? messages))
                return false;
            values.Remove("tools", out Value? tools);
            s_templates[input.Length % s_templates.Length].Render(
                new ChatTemplateInput { Messages = messages, Tools = tools, Extra = values, AddGenerationPrompt = true, BosToken = "<s>", EosToken = "</s>", Now = new DateTimeOffset(2026, 11, 24, 12, 34, 56, TimeSpan.Zero) },
                RenderLimits.Default, CancellationToken.None);
            return true;
        }
        catch (Exception fault) when (fault is ChatTemplateException or JsonException)
        {
            return false;
        }
    }

    public override void Dispose()
    {
    }

    private static string NameOf(JsonProperty property)
    {
        try
        {
            return property.Name;
        }
        catch (InvalidOperationException fault) // no Unicode; the server's reader of bodies has its own word for it
        {
            throw new JsonException("The name of a variable is no text.", fault);
        }
    }
}
