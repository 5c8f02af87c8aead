using System.Text.RegularExpressions;
using NUnit.Framework;
using TpServe.Gateway.Commands.Terminal;

namespace TpServe.Gateway.Tests.Commands.Terminal;

/// <summary>Markdown on a terminal, cut anywhere: styles as names, text as it is.</summary>
public sealed partial class MarkdownWriterTests
{
    private static string Show(string text, int cut, bool isStyled = true)
    {
        MarkdownWriter writer = new(isStyled);
        string shown = string.Concat(text.Chunk(cut).Select(part => writer.Write(new string(part)))) + writer.End();
        return shown.Replace("\e[0m", "{}", StringComparison.Ordinal).Replace("\e[1m", "{b}", StringComparison.Ordinal).Replace("\e[3m", "{i}", StringComparison.Ordinal)
            .Replace("\e[36m", "{c}", StringComparison.Ordinal).Replace("\e[2m", "{d}", StringComparison.Ordinal);
    }

    [TestCase("plain", "plain{}")]
    [TestCase("a **b** c", "a {}{b}b{} c{}")]
    [TestCase("a *b* c", "a {}{i}b{} c{}")]
    [TestCase("a _b_ c_d_e", "a {}{i}b{} c_d_e{}")]
    [TestCase("2 * 3 * 4", "2 * 3 * 4{}")]
    [TestCase("***both***", "{}{b}{i}both{}{}")]
    [TestCase("call `f(*x)` now", "call {}{c}f(*x){} now{}")]
    [TestCase("# Title\ntext", "{b}# Title{}\ntext{}")]
    [TestCase("#tag", "#tag{}")]
    [TestCase("- one\n  * two\n-3", "• one\n  • two\n-3{}")]
    [TestCase("**bold** first", "{}{b}bold{} first{}")]
    [TestCase("> said", "{d}│{} said{}")]
    [TestCase("```py\nx = **a**\n# no heading\n```\nend", "{}{d}── py{}{c}\nx = **a**\n# no heading\n{}{d}──{}\nend{}")]
    [TestCase("open **bold\nnext", "open {}{b}bold{}\nnext{}")]
    [TestCase("1. one", "1. one{}")]
    [TestCase("ends with **", "ends with **{}")]
    public void Write_Markdown_IsEmphasised(string text, string expected)
    {
        foreach (int cut in new[] { 1, 2, 5, 1000 })
            Assert.That(Show(text, cut), Is.EqualTo(expected), $"in pieces of {cut}");
    }

    [TestCase(true)]
    [TestCase(false)]
    public void Write_ControlCharacters_NeverPass(bool isStyled)
    {
        string shown = new MarkdownWriter(isStyled).Write("a\e]0;title\a\e[2J\r\b\u009b31mb\tc\n");
        Assert.That(Escape().Replace(shown, ""), Is.EqualTo("a]0;title[2J31mb\tc\n"));
    }

    [Test]
    public void Write_Plain_IsTheTextItself() => Assert.That(Show("# a **b** `c`\n- d", 3, isStyled: false), Is.EqualTo("# a **b** `c`\n- d"));

    [GeneratedRegex("\e\\[[0-9]*m")]
    private static partial Regex Escape();
}
