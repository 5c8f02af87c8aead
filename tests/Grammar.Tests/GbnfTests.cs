using System.Text;
using System.Text.Json;
using NUnit.Framework;

namespace TpServe.Grammar.Tests;

/// <summary>Grammars in llama.cpp's notation.</summary>
[Parallelizable(ParallelScope.All)]
public sealed class GbnfTests
{
    internal const string Json = """
        # JSON, with space between its parts
        root    ::= value
        value   ::= object | array | string | number | ("true" | "false" | "null") ws
        object  ::= "{" ws ( member ("," ws member)* )? "}" ws
        member  ::= string ":" ws value
        array   ::= "[" ws ( value ("," ws value)* )? "]" ws
        string  ::= "\"" ( [^"\\\x00-\x1F] | "\\" ( ["\\/bfnrt] | "u" [0-9a-fA-F]{4} ) )* "\"" ws
        number  ::= "-"? ( "0" | [1-9] [0-9]* ) ( "." [0-9]+ )? ( [eE] [-+]? [0-9]+ )? ws
        ws      ::= [ \t\n]{0,20}
        """;

    internal const string Arithmetic = """
        root ::= (expr "=" ws term "\n")+
        expr ::= term ([-+*/] ws term)*
        term ::= ident | num | "(" ws expr ")" ws
        ident ::= [a-z] [a-z0-9_]* ws
        num ::= [0-9]+ ws
        ws ::= [ \t\n]*
        """;

    internal const string Lists = """
        root ::= item+

        item ::= "- " [^\r\n\x0b\x0c\x85\u2028\u2029]+ "\n"
        """;

    [TestCase("""{"a": [1, -2.5e3, "x\u00e9\n", {}], "b": null}""", true)]
    [TestCase("[[[[[[]]]]], true ]", true)]
    [TestCase("{\"a\":1,}", false)]
    [TestCase("[01]", false)]
    [TestCase("\"a", false)]
    [TestCase("", false)]
    public void JsonGrammar_Texts_AreToldApart(string text, bool accepted) =>
        Assert.That(OutputGrammar.FromGbnf(Json).Accepts(Encoding.UTF8.GetBytes(text)), Is.EqualTo(accepted));

    [Test]
    public void JsonGrammar_RandomWalks_AreJson()
    {
        OutputGrammar grammar = OutputGrammar.FromGbnf(Json);
        for (int seed = 0; seed < 40; seed++)
            if (Walks.Run(grammar, Vocabularies.Small, seed, mostTokens: 400) is byte[] text)
                Assert.That(() => JsonDocument.Parse(text), Throws.Nothing, Encoding.UTF8.GetString(text));
    }

    [TestCase("a+3=b\n", true)]
    [TestCase("(a + (3*c))=b \n1=2\n", true)]
    [TestCase("a+=b\n", false)]
    [TestCase("((a)=b\n", false)]
    public void Arithmetic_Texts_AreToldApart(string text, bool accepted) =>
        Assert.That(OutputGrammar.FromGbnf(Arithmetic).Accepts(Encoding.UTF8.GetBytes(text)), Is.EqualTo(accepted));

    [TestCase("- one\n- zwei ü\n", true)]
    [TestCase("- one\n-two\n", false)]
    [TestCase("- a\u2028b\n", false)]
    public void Lists_Texts_AreToldApart(string text, bool accepted) =>
        Assert.That(OutputGrammar.FromGbnf(Lists).Accepts(Encoding.UTF8.GetBytes(text)), Is.EqualTo(accepted));

    [Test]
    public void Recursion_Nested_CountsItsDepth()
    {
        OutputGrammar grammar = OutputGrammar.FromGbnf("root ::= \"a\" root \"b\" | \"c\"");
        for (int n = 0; n < 60; n++)
        {
            Assert.That(grammar.Accepts(Encoding.UTF8.GetBytes(new string('a', n) + "c" + new string('b', n))), Is.True);
            Assert.That(grammar.Accepts(Encoding.UTF8.GetBytes(new string('a', n) + "c" + new string('b', n + 1))), Is.False);
        }
    }

    [Test]
    public void Recursion_OnTheRight_NeedsNoStack()
    {
        OutputGrammar grammar = OutputGrammar.FromGbnf("root ::= \"a\" | \"a,\" root");
        Assert.That(grammar.Accepts(Encoding.UTF8.GetBytes(string.Concat(Enumerable.Repeat("a,", 5000)) + "a")), Is.True);
    }

    [Test]
    public void Ambiguity_TwoReadings_BothGoOn()
    {
        OutputGrammar grammar = OutputGrammar.FromGbnf("""
            root ::= x "1" | y "2"
            x ::= "(" x ")" | "a"
            y ::= "(" y ")" | "a"
            """);
        Assert.That(grammar.Accepts("((a))1"u8), Is.True);
        Assert.That(grammar.Accepts("((a))2"u8), Is.True);
        Assert.That(grammar.Accepts("((a)2"u8), Is.False);
    }

    [TestCase("root ::= a", "is used and not defined", "line 1, column 10")]
    [TestCase("a ::= \"x\"", "no such rule", "")]
    [TestCase("root ::= \"x\"\nroot ::= \"y\"", "defined twice", "line 2, column 1")]
    [TestCase("root ::= \"x", "does not end", "line 1")]
    [TestCase("root = \"x\"", "'::=' is expected", "line 1")]
    [TestCase("root ::= [b-a]", "out of order", "line 1")]
    [TestCase("root ::= (\"x\"", "not closed", "line 1")]
    [TestCase("root ::= \"\\q\"", "escape", "line 1")]
    [TestCase("root ::= root \"x\" | \"y\"", "left recursion", "")]
    [TestCase("root ::= a\na ::= b \"x\" | \"z\"\nb ::= \"q\"? a", "left recursion", "")]
    [TestCase("root ::= \"x\" root", "no text satisfies it", "")]
    public void Grammar_Malformed_IsRefusedWithItsPlace(string text, string reason, string place)
    {
        GrammarException fault = Assert.Throws<GrammarException>(() => OutputGrammar.FromGbnf(text))!;
        Assert.That(fault.Message, Does.Contain(reason));
        Assert.That(fault.Place, Does.StartWith(place));
    }
}
