using System.Numerics;
using NUnit.Framework;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Tests;

/// <summary>What a request hands in is what the template gets: every digit, every kind, and the request's origin.</summary>
public sealed class RequestValueTests
{
    [TestCase("9007199254740993", "9007199254740993 9007199254740993 int")] // 2^53 + 1
    [TestCase("-9223372036854775808", "-9223372036854775808 -9223372036854775808 int")]
    [TestCase("123456789012345678901234567890", "123456789012345678901234567890 123456789012345678901234567890 int")]
    [TestCase("5.0", "5.0 5.0 float")]
    [TestCase("1e3", "1000.0 1000.0 float")]
    [TestCase("-0.1", "-0.1 -0.1 float")]
    [TestCase("true", "True true bool")]
    [TestCase("null", "None null none")]
    [TestCase("\"\\u00e9\"", "é \"é\" text")]
    [TestCase("[1,[2.5,[]],{}]", "[1, [2.5, []], {}] [1, [2.5, []], {}] list")]
    [TestCase("""{"b":1,"a":2,"b":3}""", """{'b': 3, 'a': 2} {"b": 3, "a": 2} map""")]
    public void FromJson_AnyKind_PrintsAsPythonReadsIt(string json, string expected)
    {
        const string Template =
            "{{ v }} {{ v|tojson }} {{ 'bool' if v is boolean else 'int' if v is integer else 'float' if v is float else 'none' if v is none "
            + "else 'text' if v is string else 'map' if v is mapping else 'list' }}";
        Assert.That(TemplateRun.Render(Template, variables: $$"""{"v": {{json}}}""").Text, Is.EqualTo(expected));
    }

    [TestCase("1e999", ChatTemplateErrorReason.Input, "double")]
    [TestCase("\"\\ud800\"", ChatTemplateErrorReason.Input, "Unicode")]
    [TestCase("""{"\udc00":1}""", ChatTemplateErrorReason.Input, "Unicode")]
    public void FromJson_WhatNoTemplateCouldUse_IsRefused(string json, ChatTemplateErrorReason reason, string message)
    {
        ChatTemplateException? fault = Assert.Throws<ChatTemplateException>(() => RequestValue.FromJson(TemplateRun.Json(json)));
        Assert.That(fault!.Reason, Is.EqualTo(reason));
        Assert.That(fault.Message, Does.Contain(message));
    }

    [Test]
    public void FromJson_DigitsUpToPythonsLimit_AreKept()
    {
        string longest = new('7', 4300);
        Assert.That(TemplateRun.Render("{{ v }}", variables: $$"""{"v": {{longest}}}""").Text, Is.EqualTo(longest));
        ChatTemplateException? fault = Assert.Throws<ChatTemplateException>(() => RequestValue.FromJson(TemplateRun.Json(longest + "7")));
        Assert.That(fault!.Message, Does.Contain("4301 digits"));
    }

    [Test]
    public void Map_ManyKeys_FindsEachAndKeepsTheirOrder()
    {
        string[] names = [.. Enumerable.Range(0, 100).Select(i => $"k{i * 37 % 100}")];
        Value map = RequestValue.Map(names.Select((name, place) => KeyValuePair.Create(name, RequestValue.Of((BigInteger)place))));
        ChatTemplateInput input = TemplateRun.Input() with { Extra = new Dictionary<string, Value> { ["m"] = map } };
        string Rendered(string template) => ChatTemplate.Parse(template).Render(input, RenderLimits.Default, CancellationToken.None).Text;
        Assert.That(Rendered("{{ m|join(' ') }}"), Is.EqualTo(string.Join(' ', names)));
        Assert.That(
            Rendered("{% for k in m %}{{ m[k] }},{% endfor %}{{ m.k100 is defined }}"), Is.EqualTo(string.Concat(Enumerable.Range(0, 100).Select(i => $"{i},")) + "False"));
    }

    [Test]
    public void Values_InTwoRenderingsAtOnce_AreShared()
    {
        ChatTemplateInput input = TemplateRun.Input(variables: """{"m": {"a":1,"b":2,"c":3,"d":4,"e":5,"f":6,"g":7,"h":8,"i":9,"j":[10, "é😀"]}}""");
        ChatTemplate template = ChatTemplate.Parse("{% for n in range(200) %}{{ m.j[0] + m['a'] }}{{ m.j[1][-1] }}{% endfor %}");
        RenderLimits limits = RenderLimits.Default with { MaxTime = TimeSpan.FromMinutes(1) };
        string[] rendered = new string[20];
        Parallel.For(0, rendered.Length, i => rendered[i] = template.Render(input, limits, CancellationToken.None).Text);
        Assert.That(rendered, Is.All.EqualTo(string.Concat(Enumerable.Repeat("11😀", 200))));
    }

    [Test]
    public void Of_Text_IsTheRequests()
    {
        ChatTemplateInput input = TemplateRun.Input() with
        {
            Extra = new Dictionary<string, Value> { ["list"] = RequestValue.List([RequestValue.Of("<s>"), RequestValue.Of(1.5), RequestValue.Of(true), RequestValue.None]) },
        };
        RenderedPrompt prompt = ChatTemplate.Parse("<s>{% for v in list %}{{ v }};{% endfor %}").Render(input, RenderLimits.Default, CancellationToken.None);
        Assert.That(TemplateRun.Marked(prompt), Is.EqualTo("<s>[<s>];1.5;True;None;"));
    }
}
