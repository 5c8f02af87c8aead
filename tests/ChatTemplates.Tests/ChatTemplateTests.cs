using System.Text;
using CsCheck;
using NUnit.Framework;

namespace TpServe.ChatTemplates.Tests;

/// <summary>The contract of ChatTemplate: errors with reason and line, input of the wrong kind, any text at all.</summary>
public sealed class ChatTemplateTests
{
    [TestCase("a\nb\n{% if %}{% endif %}", 3)]
    [TestCase("a\n{{ 'x }}", 2)]
    [TestCase("\n\n{# open", 3)]
    [TestCase("{% for x in y %}\n{% endfo %}", 2)]
    [TestCase("{% if x %}\n\nx", 3)]
    [TestCase("\n{{ x|nosuch }}", 2)]
    [TestCase("\n{{ x is nosuch }}", 2)]
    [TestCase("\n\n{{ (1 }}", 3)]
    [TestCase("\n{% break %}", 2)]
    [TestCase("\n{{ '\\x4' }}", 2)]
    public void Parse_InvalidTemplate_NamesTheLine(string template, int line)
    {
        ChatTemplateException? fault = Assert.Throws<ChatTemplateException>(() => ChatTemplate.Parse(template));
        Assert.That(fault!.Reason, Is.EqualTo(ChatTemplateErrorReason.Syntax));
        Assert.That(fault.Line, Is.EqualTo(line));
        Assert.That(fault.Message, Does.EndWith($"(line {line})"));
    }

    [TestCase("{{ x.y }}", ChatTemplateErrorReason.Undefined)]
    [TestCase("{{ 'a' + 1 }}", ChatTemplateErrorReason.Type)]
    [TestCase("{{ 1 / 0 }}", ChatTemplateErrorReason.Value)]
    [TestCase("{{ [].append(1) }}", ChatTemplateErrorReason.Security)]
    [TestCase("{{ ''.__class__.__mro__ }}", ChatTemplateErrorReason.Security)]
    [TestCase("{{ range(10 ** 6) }}", ChatTemplateErrorReason.LimitExceeded)]
    public void Render_FaultyTemplate_NamesReasonAndLine(string expression, ChatTemplateErrorReason reason)
    {
        ChatTemplateException? fault = Assert.Throws<ChatTemplateException>(() => TemplateRun.Render($"a\nb{{% if true %}}\n{expression}{{% endif %}}"));
        Assert.That(fault!.Reason, Is.EqualTo(reason));
        Assert.That(fault.Line, Is.EqualTo(3));
    }

    [Test]
    public void Render_RaiseException_KeepsTheTemplatesMessage()
    {
        ChatTemplateException? fault = Assert.Throws<ChatTemplateException>(() => TemplateRun.Render("{{ raise_exception('Roles must alternate!') }}"));
        Assert.That(fault!.Reason, Is.EqualTo(ChatTemplateErrorReason.Raised));
        Assert.That(fault.Message, Is.EqualTo("Roles must alternate!"));
    }

    [TestCase("{}", false, false, "not an array")]
    [TestCase("[]", false, true, "no message to continue")]
    [TestCase("""[{"role": "user"}]""", false, true, "no content")]
    [TestCase("""[{"content": 5}]""", false, true, "not text")]
    [TestCase("""[{"content": [{"type": "image"}]}]""", false, true, "no text")]
    [TestCase("""[{"content": "a"}]""", true, true, "exclude each other")]
    [TestCase("""[{"content": "\ud800"}]""", false, false, "not valid Unicode")]
    [TestCase("""[{"content": "a"}]""", false, true, "does not appear")]
    public void Render_InputThatDoesNotFit_SaysWhy(string messages, bool addPrompt, bool goOn, string expected)
    {
        ChatTemplateException? fault = Assert.Throws<ChatTemplateException>(() => ChatTemplate.Parse("x").Render(
            TemplateRun.Input(messages) with { AddGenerationPrompt = addPrompt, ContinueFinalMessage = goOn }, RenderLimits.Default, CancellationToken.None));
        Assert.That(fault!.Reason, Is.EqualTo(ChatTemplateErrorReason.Input));
        Assert.That(fault.Message, Does.Contain(expected));
    }

    [Test]
    public void Render_ContinueWithParts_ContinuesTheLastText()
    {
        const string Messages = """[{"role": "assistant", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}, {"type": "image"}]}]""";
        ChatTemplateInput input = TemplateRun.Input(Messages) with { ContinueFinalMessage = true };
        ChatTemplate template = ChatTemplate.Parse("{% for p in messages[0].content %}{{ p.text }};{% endfor %}");
        Assert.That(template.Render(input, RenderLimits.Default, CancellationToken.None).Text, Is.EqualTo("one;two"));
    }

    [TestCase("reasoning_content", "thinking,role,reasoning_content")]
    [TestCase("thinking", "role,thinking,reasoning_content")]
    [TestCase("reasoning", "thinking,role,reasoning,reasoning_content")]
    public void Render_ReasoningUnderOneName_IsFoundUnderAll(string given, string keys)
    {
        string messages = $$"""[{"role": "assistant", "{{given}}": "hm"}]""";
        RenderedPrompt prompt = TemplateRun.Render("{{ messages[0].thinking }}{{ messages[0].reasoning_content }} {{ messages[0]|join(',') }}", messages);
        Assert.That(prompt.Text, Is.EqualTo($"hmhm {keys}"));
    }

    [Test]
    public void Render_SameTemplateTwice_SharesNothing()
    {
        ChatTemplate template = ChatTemplate.Parse("{% set ns = namespace(n=0) %}{% for m in messages %}{% set ns.n = ns.n + 1 %}{% endfor %}{{ ns.n }}");
        string[] rendered = new string[50];
        Parallel.For(0, rendered.Length, i => rendered[i] = template.Render(
            TemplateRun.Input("[" + string.Join(",", Enumerable.Repeat("{}", i)) + "]"), RenderLimits.Default with { MaxTime = TimeSpan.FromMinutes(1) }, CancellationToken.None).Text);
        Assert.That(rendered, Is.EqualTo(Enumerable.Range(0, rendered.Length).Select(i => i.ToString(System.Globalization.CultureInfo.InvariantCulture))));
    }

    /// <summary>Any text parses and renders, or fails with the one exception; nothing else ever comes out.</summary>
    [Test]
    public void Parse_AnyText_GivesATemplateOrChatTemplateException()
    {
        string[] fragments =
        [
            "{{", "}}", "{%", "%}", "{#", "#}", "-", "+", " if ", " else ", " endif ", " for ", " in ", " endfor ", " set ", " endset ", " macro m(", " endmacro ", " call ", " endcall ",
            " raw ", " endraw ", " is ", " not ", "defined", " and ", " or ", "(", ")", "[", "]", "{", "}", ":", ",", ".", "|", "upper", "tojson", "map", "'a'", "\"", "\\", "1", "2.5", "e9",
            "messages", "loop", ".index", "x", "=", "==", "<", "*", "**", "/", "//", "%", "~", "\n", " ", "\t", "é", "😀", "\ud800", "\0", "recursive", "break", "generation", "namespace(a=1)",
        ];
        Gen<string> text = Gen.OneOf(
            Fragments(0, 25),
            Fragments(28, 12).Select(inside => "{{ " + inside + " }}"),
            Fragments(8, 12).Select(inside => "{% " + inside + " %}"),
            Gen.String[0, 40]);
        ChatTemplateInput input = TemplateRun.Input("""[{"role": "user", "content": "hi"}]""");
        RenderLimits limits = new(20_000, 200, 20_000, TimeSpan.FromMinutes(1));
        text.Sample(
            template =>
            {
                try
                {
                    RenderedPrompt prompt = ChatTemplate.Parse(template).Render(input, limits, CancellationToken.None);
                    StringBuilder joined = new();
                    foreach (RenderedSegment segment in prompt.Segments)
                        joined.Append(segment.Text);
                    return joined.ToString() == prompt.Text;
                }
                catch (ChatTemplateException)
                {
                    return true; // the one exception that may come out
                }
            },
            iter: 20_000);

        Gen<string> Fragments(int first, int most) =>
            Gen.Int[first, fragments.Length - 1].Array[0, most].Select(chosen => string.Concat(chosen.Select(i => fragments[i])));
    }
}
