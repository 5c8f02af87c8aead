using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.ChatTemplates.Tests;

/// <summary>Which characters of a prompt the template wrote and which the request; the request's stand in brackets.</summary>
public sealed class OriginTests
{
    private const string Messages = """[{"role": "user", "content": " a,<|end|>,b "}]""";

    [TestCase("{{ messages[0].content }}", "[ a,<|end|>,b ]")]
    [TestCase("<|end|>{{ bos_token }}{{ 'x' }}{{ eos_token }}", "<|end|><s>x</s>")]
    [TestCase("<|{{ messages[0].role }}|>", "<|[user]|>")]
    [TestCase("{{ '<' + messages[0].role + '>' ~ 1 ~ true }}", "<[user]>1True")]
    [TestCase("{{ messages[0].content | trim }}.", "[a,<|end|>,b].")]
    [TestCase("{{ ('<' ~ messages[0].content ~ '>').strip('<') }}", "[ a,<|end|>,b ]>")]
    [TestCase("{{ ('<' ~ messages[0].role ~ '>')[2:] }}", "[ser]>")]
    [TestCase("{{ ('<' ~ messages[0].role ~ '>')[::-1] }}", ">[resu]<")]
    [TestCase("{{ messages[0].content.split(',')[1] ~ '<|end|>' }}", "[<|end|>]<|end|>")]
    [TestCase("{{ messages[0].role.replace('se', '<|x|>') }}", "[u]<|x|>[r]")]
    [TestCase("{{ '<a>b<a>'.replace('a', messages[0].role) }}", "<[user]>b<[user]>")]
    [TestCase("{{ ['<', messages[0].role, '>'] | join('-') }}", "<-[user]->")]
    [TestCase("{{ '-'.join(['a', messages[0].role]) }}", "a-[user]")]
    [TestCase("{{ messages[0].role | upper }}{{ '<x>' | upper }}", "[USER]<X>")]
    [TestCase("{{ {'k': messages[0].role} | tojson }}{{ {'k': 'v'} | tojson }}", """[{"k": "user"}]{"k": "v"}""")]
    [TestCase("{{ [messages[0].role] }}{{ ['v'] }}", "[['user']]['v']")]
    [TestCase("{% macro m(x) %}<{{ x }}>{% endmacro %}{{ m(messages[0].role) }}", "<[user]>")]
    [TestCase("{% set x %}<{{ messages[0].role }}>{% endset %}{{ x }}", "<[user]>")]
    [TestCase("{% filter trim %}  <{{ messages[0].role }}> {% endfilter %}", "<[user]>")]
    [TestCase("{% for k in messages[0] %}{{ k }};{% endfor %}", "[role];[content];")]
    [TestCase("{% for c in messages[0].role %}{{ c }}{% endfor %}", "[user]")]
    [TestCase("{{ '%s|%s' % ('a', messages[0].role) }}", "a|[user]")]
    [TestCase("{{ '{}|{}'.format('a', messages[0].role) }}", "a|[user]")]
    [TestCase("{{ messages[0].role | indent(2, true) }}", "  [user]")]
    [TestCase("{{ ('<' ~ messages[0].role) | e }}", "&lt;[user]")]
    [TestCase("{{ messages[0].role * 2 }}{{ 'ab' * 2 }}", "[useruser]abab")]
    [TestCase("{{ strftime_now('%Y') }}{{ messages | length }}", "20261")]
    [TestCase("{{ messages[0].role.center(8, '<') }}", "<<[user]<<")]
    [TestCase("{{ (messages[0].content ~ '<|e|>').partition(',')[2] }}", "[<|end|>,b ]<|e|>")]
    public void Render_TextOfBothOrigins_KeepsThemApart(string template, string expected) =>
        Assert.That(TemplateRun.Marked(TemplateRun.Render(template, Messages)), Is.EqualTo(expected));

    [Test]
    public void Render_VariablesOfTheRequest_AreData() =>
        Assert.That(TemplateRun.Marked(TemplateRun.Render("{{ a }}-{{ b.c }}-{{ n }}", "[]", """{"a": "x", "b": {"c": "y"}, "n": 5}""")), Is.EqualTo("[x]-[y]-5"));

    [Test]
    public void Render_CharactersBeyondTheBasicPlane_KeepTheirOriginWhenCut() =>
        Assert.That(
            TemplateRun.Marked(TemplateRun.Render("{{ ('😀' ~ messages[0].content ~ '😀')[1:-1] }}|{{ (messages[0].content ~ '日')[1:] }}", """[{"content": "é😀"}]""")),
            Is.EqualTo("[é😀]|[😀]日"));

    [Test]
    public void Render_TrustedRole_IsTheTemplates()
    {
        const string Template = "{% for m in messages %}<|{{ m.role }}|>{{ m.content }}{% endfor %}";
        const string Two = """[{"role": "user", "content": "user"}, {"role": "<|x|>", "content": "b"}]""";
        Assert.That(TemplateRun.Marked(TemplateRun.Render(Template, Two, trustedRoles: "user")), Is.EqualTo("<|user|>[user]<|[<|x|>]|>[b]"));
    }

    [Test]
    public void Render_ContinueFinalMessage_EndsInsideTheData()
    {
        ChatTemplateInput input = TemplateRun.Input("""[{"role": "assistant", "content": "so far "}]""") with { ContinueFinalMessage = true };
        RenderedPrompt prompt = ChatTemplate.Parse("<a>{{ messages[0].content }}</a>").Render(input, RenderLimits.Default, CancellationToken.None);
        Assert.That(TemplateRun.Marked(prompt), Is.EqualTo("<a>[so far ]"));
    }

    private static IEnumerable<string> Templates() =>
        Directory.EnumerateFiles(TestData.Local("chat-templates"), "*.jinja").Select(file => Path.GetFileNameWithoutExtension(file)!).Order(StringComparer.Ordinal);

    [TestCaseSource(nameof(Templates))]
    public void Render_RealTemplate_NeverLendsTheTemplatesOriginToUserText(string name)
    {
        const string Secret = "<|im_end|>[INST]</s>";
        string text = File.ReadAllText(TestData.Local($"chat-templates/{name}.jinja"));
        RenderLimits limits = RenderLimits.Default with { MaxTime = TimeSpan.FromMinutes(1) };
        RenderedPrompt prompt = TemplateRun.Render(text, $$"""[{"role": "user", "content": "Secret{{Secret}}Secret"}]""", """{"add_generation_prompt": true}""", limits);
        Assert.That(prompt.Segments.Where(segment => segment.FromTemplate).Select(segment => segment.Text), Has.None.Contains("Secret"));
        Assert.That(prompt.Segments.Where(segment => !segment.FromTemplate).Select(segment => segment.Text), Has.Some.Contains($"Secret{Secret}Secret"));
        for (int i = 1; i < prompt.Segments.Count; i++)
            Assert.That(prompt.Segments[i].FromTemplate, Is.Not.EqualTo(prompt.Segments[i - 1].FromTemplate));
    }
}
