using System.Diagnostics;
using NUnit.Framework;

namespace TpServe.ChatTemplates.Tests;

/// <summary>Templates that run away: each ends with a typed error, soon and without a large allocation.</summary>
public sealed class RenderLimitTests
{
    /// <summary>The promise is a second; a machine that runs other tests at the same time gets more.</summary>
    private static readonly TimeSpan s_soon = TimeSpan.FromSeconds(10);

    private const long MaxAllocatedBytes = 1L << 30;

    private static IEnumerable<TestCaseData> Runaways()
    {
        yield return Case("NestedLoops", "{% for a in range(100000) %}{% for b in range(100000) %}{{ a }}{% endfor %}{% endfor %}");
        yield return Case("EmptyLoops", "{% for a in range(100000) %}{% for b in range(100000) %}{% endfor %}{% endfor %}");
        yield return Case("RangeTooLong", "{{ range(10 ** 9) }}");
        yield return Case("EndlessMacro", "{% macro m(n) %}{{ m(n + 1) }}{% endmacro %}{{ m(0) }}");
        yield return Case("EndlessCaller", "{% macro m() %}{% call m() %}{{ caller() }}{% endcall %}{% endmacro %}{{ m() }}");
        yield return Case("EndlessRecursiveLoop", "{% for x in [1] recursive %}{{ loop([1]) }}{% endfor %}");
        yield return Case("DoublingText", "{% set ns = namespace(s='ab') %}{% for i in range(99) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}");
        yield return Case("DoublingList", "{% set ns = namespace(s=[1]) %}{% for i in range(99) %}{% set ns.s = ns.s + ns.s %}{% endfor %}");
        yield return Case("DoublingMacros", string.Concat(Enumerable.Range(1, 60).Select(
            i => $"{{% macro m{i}() %}}{{{{ m{i - 1}() }}}}{{{{ m{i - 1}() }}}}{{% endmacro %}}")) + "{% macro m0() %}x{% endmacro %}{{ m60() }}");
        yield return Case("RepeatedText", "{{ 'a' * 10 ** 9 }}");
        yield return Case("RepeatedTextBeyondInt", "{{ 'ab' * 10 ** 30 }}");
        yield return Case("RepeatedList", "{{ ([0] * 10 ** 9)|length }}");
        yield return Case("HugePower", "{{ 10 ** (10 ** 10) }}");
        yield return Case("HugeProduct", "{% set ns = namespace(n=3) %}{% for i in range(99) %}{% set ns.n = ns.n * ns.n %}{% endfor %}");
        yield return Case("WidePercentFormat", "{{ '%099999999d' % 1 }}");
        yield return Case("PrecisePercentFormat", "{{ '%.99999999f' % 1 }}");
        yield return Case("WideBraceFormat", "{{ '{:999999999}'.format(1) }}");
        yield return Case("WideCenter", "{{ 'a'.center(10 ** 9) }}");
        yield return Case("WideFill", "{{ 'a'.zfill(10 ** 9) }}");
        yield return Case("WideTabs", "{{ ('\\t' * 100).expandtabs(10 ** 9) }}");
        yield return Case("WideIndent", "{{ [1]|tojson(indent=10 ** 9) }}");
        yield return Case("WideIndentFilter", "{{ 'a'|indent(10 ** 9, true) }}");
        yield return Case("LongBatch", "{{ [1]|batch(10 ** 9, 0)|list }}");
        yield return Case("ManySlices", "{{ [1]|slice(10 ** 9)|list }}");
        yield return Case("GrowingReplace", "{% set ns = namespace(s='aa') %}{% for i in range(99) %}{% set ns.s = ns.s.replace('a', 'aa') %}{% endfor %}");
        yield return Case("GrowingJoin", "{% set ns = namespace(s='aa') %}{% for i in range(99) %}{% set ns.s = ns.s.join(ns.s) %}{% endfor %}");
        yield return Case("GrowingTranslate", "{% set ns = namespace(s='aa') %}{% for i in range(99) %}{% set ns.s = ns.s.translate({97: 'aa'}) %}{% endfor %}");
        yield return Case("GrowingEscape", "{% set ns = namespace(s='&') %}{% for i in range(9999) %}{% set ns.s = ns.s|forceescape|string ~ '&' * 99 %}{% endfor %}");
        yield return Case("DeepListPrinted", "{% set ns = namespace(v=[]) %}{% for i in range(99999) %}{% set ns.v = [ns.v] %}{% endfor %}{{ ns.v }}");
        yield return Case("DeepListAsJson", "{% set ns = namespace(v=[]) %}{% for i in range(99999) %}{% set ns.v = [ns.v] %}{% endfor %}{{ ns.v|tojson }}");
        yield return Case("DeepListsCompared", "{% set ns = namespace(v=[], w=[]) %}{% for i in range(50000) %}{% set ns.v = [ns.v] %}{% set ns.w = [ns.w] %}{% endfor %}{{ ns.v == ns.w }}");
        yield return Case("DeepListsOrdered", "{% set ns = namespace(v=[0], w=[1]) %}{% for i in range(50000) %}{% set ns.v = [ns.v] %}{% set ns.w = [ns.w] %}{% endfor %}{{ ns.v < ns.w }}");
        yield return Case("DeepTupleHashed", "{% set ns = namespace(v=()) %}{% for i in range(99999) %}{% set ns.v = (ns.v,) %}{% endfor %}{{ {ns.v: 1} }}");
        yield return Case("NamespaceInItself", "{% set ns = namespace() %}{% set ns.ns = ns %}{{ ns }}");
        yield return Case("DeepGenerators", "{% set ns = namespace(v=[1]) %}{% for i in range(99999) %}{% set ns.v = ns.v|map('string') %}{% endfor %}{{ ns.v|list }}");
        yield return Case("LongFind", "{% set a = 'a' * 1000000 %}{% for i in range(99999) %}{{ a.find('a' * 500000 ~ 'b') }}{% endfor %}");
        yield return Case("LongCompare", "{% set a = 'a' * 1000000 %}{% set b = 'a' * 1000000 %}{% for i in range(99999) %}{{ a == b }}{% endfor %}");
        yield return Case("ManySorts", "{% set a = range(100000)|list %}{% for i in range(99999) %}{{ a|sort|length }}{% endfor %}");
        yield return Case("ManyIntegers", "{% set a = '9' * 4000 %}{% for i in range(99999) %}{{ a|int * 1 }}{% endfor %}");
        yield return Case("LongSum", "1{{ 1" + string.Concat(Enumerable.Repeat(" + 1", 99_999)) + " }}");
        yield return Case("ManyAttributes", "{{ a" + string.Concat(Enumerable.Repeat("|list", 99_999)) + " }}");
        yield return Case("DeepParentheses", "{{ " + new string('(', 99_999) + "1" + new string(')', 99_999) + " }}");
        yield return Case("DeepLists", "{{ " + new string('[', 99_999) + new string(']', 99_999) + " }}");
        yield return Case("DeepDicts", "{{ " + string.Concat(Enumerable.Repeat("{1:", 99_999)) + " }}");
        yield return Case("DeepCalls", "{{ " + string.Concat(Enumerable.Repeat("f(", 99_999)) + new string(')', 99_999) + " }}");
        yield return Case("DeepSubscripts", "{{ " + string.Concat(Enumerable.Repeat("f[", 99_999)) + new string(']', 99_999) + " }}");
        yield return Case("ManyNots", "{{ " + string.Concat(Enumerable.Repeat("not ", 99_999)) + "1 }}");
        yield return Case("ManySigns", "{{ " + new string('-', 99_999) + "1 }}");
        yield return Case("ManyConditions", "{{ 1" + string.Concat(Enumerable.Repeat(" if 1 else 1", 99_999)) + " }}");
        yield return Case("DeepTests", "{{ 1" + string.Concat(Enumerable.Repeat(" is eq [1", 99_999)) + new string(']', 99_999) + " }}");
        yield return Case("DeepIfs", string.Concat(Enumerable.Repeat("{% if 1 %}", 99_999)));
        yield return Case("DeepFors", string.Concat(Enumerable.Repeat("{% for a in b %}", 60_000)));
        yield return Case("DeepTargets", "{% for " + new string('(', 99_999));
        yield return Case("LongTemplate", new string('x', 5_000_000));
    }

    [TestCaseSource(nameof(Runaways))]
    public void Render_RunawayTemplate_EndsSoonWithLimitExceeded(string template)
    {
        long allocated = GC.GetAllocatedBytesForCurrentThread();
        Stopwatch watch = Stopwatch.StartNew();
        ChatTemplateException? fault = Assert.Throws<ChatTemplateException>(() => TemplateRun.Render(template));
        Assert.That(watch.Elapsed, Is.LessThan(s_soon));
        Assert.That(fault!.Reason, Is.EqualTo(ChatTemplateErrorReason.LimitExceeded), fault.Message);
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - allocated, Is.LessThan(MaxAllocatedBytes));
    }

    [Test]
    public void Render_SmallStackThread_FailsTypedAndDoesNotOverflow()
    {
        ChatTemplateException? fault = null;
        RenderLimits deep = RenderLimits.Default with { MaxDepth = int.MaxValue };
        Thread thread = new(
            () => fault = Assert.Throws<ChatTemplateException>(
                () => TemplateRun.Render("{% macro m() %}{{ [m()] }}{% endmacro %}{{ m() }}", limits: deep)),
            maxStackSize: 512 * 1024);
        thread.Start();
        Assert.That(thread.Join(s_soon), Is.True);
        Assert.That(fault!.Reason, Is.EqualTo(ChatTemplateErrorReason.LimitExceeded));
    }

    [Test]
    public void Render_DeepJsonInput_FailsTyped()
    {
        string deep = new string('[', 5_000) + new string(']', 5_000);
        ChatTemplateException? fault = Assert.Throws<ChatTemplateException>(() => TemplateRun.Render("x", variables: $$"""{"deep": {{deep}}}"""));
        Assert.That(fault!.Reason, Is.EqualTo(ChatTemplateErrorReason.LimitExceeded));
    }

    [TestCase(50, 1000, 1000, "steps")]
    [TestCase(100_000, 3, 1000, "nests")]
    [TestCase(100_000, 1000, 20, "characters")]
    public void Render_LimitTooSmallForTheTemplate_NamesTheLimit(int steps, int depth, int chars, string expected)
    {
        RenderLimits limits = new(steps, depth, chars, TimeSpan.FromMinutes(1));
        const string Template = "{% for i in range(30) %}{{ (i + 1) * 2 }}{% endfor %}";
        ChatTemplateException? fault = Assert.Throws<ChatTemplateException>(() => TemplateRun.Render(Template, limits: limits));
        Assert.That(fault!.Reason, Is.EqualTo(ChatTemplateErrorReason.LimitExceeded));
        Assert.That(fault.Message, Does.Contain(expected));
    }

    [Test]
    public void Render_TimeLimitOfZero_FailsTyped()
    {
        RenderLimits limits = RenderLimits.Default with { MaxTime = TimeSpan.Zero };
        ChatTemplateException? fault = Assert.Throws<ChatTemplateException>(
            () => TemplateRun.Render("{% for i in range(99999) %}{{ i }}{% endfor %}", limits: limits));
        Assert.That(fault!.Message, Does.Contain("longer than the limit"));
    }

    [Test]
    public void Render_CancelledToken_ThrowsOperationCanceled()
    {
        ChatTemplate template = ChatTemplate.Parse("{% for i in range(99999) %}{{ i }}{% endfor %}");
        using CancellationTokenSource source = new();
        source.Cancel();
        Assert.Throws<OperationCanceledException>(() => template.Render(TemplateRun.Input(), RenderLimits.Default, source.Token));
    }

    [Test]
    public void Render_ConversationOfFourMegabytes_StaysWithinTheDefaultLimits()
    {
        string content = new string('x', 4_000_000);
        string template = "{% for m in messages %}{{ '<|' + m.role + '|>' + m.content | trim + eos_token }}{% endfor %}";
        RenderLimits limits = RenderLimits.Default with { MaxTime = TimeSpan.FromMinutes(1) };
        RenderedPrompt prompt = TemplateRun.Render(template, $$"""[{"role": "user", "content": "  {{content}} "}]""", limits: limits);
        Assert.That(prompt.Text, Is.EqualTo($"<|user|>{content}</s>"));
    }

    private static TestCaseData Case(string name, string template) => new TestCaseData(template).SetArgDisplayNames(name);
}
