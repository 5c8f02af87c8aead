using NUnit.Framework;

namespace TpServe.ChatTemplates.Tests;

/// <summary>What templates make of tools, calls and results.</summary>
public sealed class ToolProbeTests
{
    private const string Calls = "{% for m in messages %}<{{ m.role }}>{{ m.content or '' }}{% for c in m.tool_calls or [] %}{{ c.function.name }}:{{ ARGUMENTS }}{% endfor %}{% endfor %}";

    [TestCase("{{ tools | tojson }}{{ messages[0].content }}", true)]
    [TestCase("{{ messages[0].content }}", false)]
    [TestCase("{% if messages[0].role == 'system' %}{{ tools | tojson }}{% endif %}", true)]
    [TestCase("{{ raise_exception('no') }}", false)]
    public void ShowsTools_Template_WhereTheyAreInThePrompt(string template, bool shows) => Assert.That(Traits(template).ShowsTools, Is.EqualTo(shows));

    [TestCase("c.function.arguments | tojson", false)]
    [TestCase("c.function.arguments if c.function.arguments is string else c.function.arguments | tojson", false)]
    [TestCase("'' + c.function.arguments", true)]
    [TestCase("c.function.arguments", true)] // an object would be printed as Python prints it
    public void Calls_Arguments_AreWhatTheTemplateReads(string arguments, bool text)
    {
        TemplateTraits traits = Traits(Calls.Replace("ARGUMENTS", arguments, StringComparison.Ordinal));
        Assert.That(traits.Calls, Is.EqualTo(new CallShape(false, text, false)));
        Assert.That((traits.ShowsSeveralCalls, traits.ShowsResults), Is.EqualTo((true, true)));
    }

    [Test]
    public void Calls_ReadOnlyWithoutContent_AreFound() => Assert.That(
        Traits("{% for m in messages %}{% if m.content is none %}{{ m.tool_calls[0].function | tojson }}{% else %}{{ m.content }}{% endif %}{% endfor %}").Calls, Is.EqualTo(new CallShape(true, false, false)));

    [Test]
    public void Calls_ThatNeedShortIds_AreFound() => Assert.That(
        Traits("{% for m in messages %}{% for c in m.tool_calls or [] %}{% if c.id | length != 9 %}{{ raise_exception('nine') }}{% endif %}{{ c.function | tojson }}{% endfor %}{% endfor %}").Calls,
        Is.EqualTo(new CallShape(false, false, true)));

    [Test]
    public void Calls_OfWhichOneIsWritten_AreNotSeveral()
    {
        TemplateTraits traits = Traits("{% for m in messages %}{% if m.tool_calls %}{{ m.tool_calls[0].function | tojson }}{% endif %}{% endfor %}");
        Assert.That((traits.Calls is not null, traits.ShowsSeveralCalls, traits.ShowsResults), Is.EqualTo((true, false, false)));
    }

    [Test]
    public void Calls_OfATemplateThatDropsThem_AreNone() => Assert.That(Traits("{% for m in messages %}{{ m.content }}{% endfor %}").Calls, Is.Null);

    private static TemplateTraits Traits(string template) => TemplateTraits.Of(ChatTemplate.Parse(template), null, null);
}
