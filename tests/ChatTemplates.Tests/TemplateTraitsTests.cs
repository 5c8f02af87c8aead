using NUnit.Framework;

namespace TpServe.ChatTemplates.Tests;

/// <summary>Shapes of content and names of roles that templates read.</summary>
public sealed class TemplateTraitsTests
{
    private const string Strings = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}";
    private const string Trimmed = "{% for m in messages %}<{{ m.role }}>{{ m['content'] | trim }}{% endfor %}";
    private const string Lists = "{% for m in messages %}<{{ m.role }}>{% for c in m.content %}{{ c.text }}{% endfor %}{% endfor %}";
    private const string Both = "{% for m in messages %}{% if m.content is string %}{{ m.content }}{% else %}{% for c in m.content %}{% if c.type == 'text' %}{{ c.text }}{% endif %}{% endfor %}{% endif %}{% endfor %}";
    private const string ByJson = "{{ messages | tojson }}";
    private const string UsersListsOnly = "{% for m in messages %}{% if m.role == 'user' %}{% for c in m.content %}{{ c['text'] }}{% endfor %}{% else %}{{ m.content }}{% endif %}{% endfor %}";
    private const string NoSystem = "{% for m in messages %}{% if m.role == 'system' %}{{ raise_exception('no system') }}{% endif %}{{ m.content }}{% endfor %}";

    [TestCase(Strings, "user", true, false)]
    [TestCase(Trimmed, "user", true, false)]
    [TestCase(Lists, "user", false, true)]
    [TestCase(Lists, "assistant", false, true)]
    [TestCase(Both, "system", true, true)]
    [TestCase(ByJson, "user", true, false)]
    [TestCase(UsersListsOnly, "user", false, true)]
    [TestCase(UsersListsOnly, "system", true, false)]
    [TestCase(UsersListsOnly, "assistant", true, false)]
    [TestCase(NoSystem, "system", false, false)]
    [TestCase(NoSystem, "user", true, false)]
    [TestCase(Lists, "functions", false, true)]
    public void ContentOf_Role_IsWhatTheTemplateReads(string template, string role, bool text, bool parts) =>
        Assert.That(TemplateTraits.Of(ChatTemplate.Parse(template), "<s>", "</s>").ContentOf(role), Is.EqualTo(new ContentShapes(text, parts)));

    [Test]
    public void Names_Role_OnlyWhereTheTemplateWritesItQuoted()
    {
        TemplateTraits traits = TemplateTraits.Of(ChatTemplate.Parse("{% if messages[0].role == \"functions\" %}developer{% endif %}{{ messages[0]['role'] == 'tool' }}"), null, null);
        Assert.That((traits.Names("functions"), traits.Names("tool"), traits.Names("developer"), traits.Names("system")), Is.EqualTo((true, true, false, false)));
    }
}
