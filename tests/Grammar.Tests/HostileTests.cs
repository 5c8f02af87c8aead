using System.Text;
using NUnit.Framework;

namespace TpServe.Grammar.Tests;

/// <summary>Texts that are made to be expensive: bounded work, and a fault that says which limit.</summary>
[Parallelizable(ParallelScope.All)]
public sealed class HostileTests
{
    private static readonly GrammarLimits Tight = GrammarLimits.Default with { Work = 5_000_000, States = 60_000 };

    private static readonly (string Name, Action Compile)[] Limited =
    [
        ("count", () => OutputGrammar.FromRegex("a{1,100000}", Tight)),
        ("counts of counts", () => OutputGrammar.FromRegex("((a{1,200}){1,200}){1,200}", Tight)),
        ("determinization", () => OutputGrammar.FromRegex("(a|b)*a(a|b){18}", Tight)),
        ("nested groups", () => OutputGrammar.FromRegex(new string('(', 5000) + new string(')', 5000), Tight)),
        ("classes", () => OutputGrammar.FromRegex(string.Concat(Enumerable.Repeat("\\p{L}{9}", 400)), Tight)),
        ("long pattern", () => OutputGrammar.FromRegex(new string('a', 2_000_000), Tight)),
        ("choices", () => OutputGrammar.FromChoices([.. Enumerable.Range(0, 40_000).Select(i => $"{i * 7919L} {i}")], Tight)),
        ("gbnf doubling", () => OutputGrammar.FromGbnf("root ::= a0\n" + string.Concat(Enumerable.Range(0, 30).Select(i => $"a{i} ::= a{i + 1} \"x\" a{i + 1} \"y\" a{i + 1}\n")) + "a30 ::= \"z\"{3000}", Tight)),
        ("gbnf nesting", () => OutputGrammar.FromGbnf("root ::= " + new string('(', 5000) + "\"a\"" + new string(')', 5000), Tight)),
        ("gbnf stars", () => OutputGrammar.FromGbnf("root ::= \"a\"" + new string('*', 5000), Tight)),
        ("nested schema", () => OutputGrammar.FromJsonSchema(string.Concat(Enumerable.Repeat("{\"items\":", 3000)) + "{}" + new string('}', 3000), Tight)),
        ("products", () => OutputGrammar.FromJsonSchema("{\"allOf\":[" + string.Join(',', Enumerable.Range(0, 12).Select(i => $"{{\"anyOf\":[{{\"minLength\":{i}}},{{\"maxLength\":{i + 50}}}]}}")) + "]}", Tight)),
        ("products of patterns", () => OutputGrammar.FromJsonSchema("{\"type\":\"string\",\"allOf\":[" + string.Join(',', Enumerable.Range(0, 12).Select(i => $"{{\"pattern\":\"{(char)('a' + i)}.{{{i + 3}}}{(char)('a' + i)}\"}}")) + "]}", Tight)),
        ("pattern and lengths", () => OutputGrammar.FromJsonSchema("""{"type":"string","pattern":"(a|b)*c(d|e){30}","maxLength":1000000}""", Tight)),
        ("items", () => OutputGrammar.FromJsonSchema("""{"type":"array","minItems":1000000}""", Tight)),
        ("properties counted", () => OutputGrammar.FromJsonSchema("{\"maxProperties\":5000,\"properties\":{" + string.Join(',', Enumerable.Range(0, 500).Select(i => $"\"p{i}\":{{}}")) + "}}", Tight)),
        ("references", () => OutputGrammar.FromJsonSchema("{\"$ref\":\"#/$defs/a0\",\"$defs\":{" + string.Join(',', Enumerable.Range(0, 3000).Select(i => $"\"a{i}\":{{\"$ref\":\"#/$defs/a{i + 1}\"}}")) + ",\"a3000\":{}}}", Tight)),
        ("digits", () => OutputGrammar.FromJsonSchema("""{"type":"integer","maximum":1e100000000}""", Tight)),
        ("enum", () => OutputGrammar.FromJsonSchema("{\"enum\":[" + string.Join(',', Enumerable.Range(0, 30_000).Select(i => $"\"{i * 7919L} {i}\"")) + "]}", Tight)),
    ];

    private static IEnumerable<TestCaseData> LimitedCases => Limited.Select(entry => new TestCaseData(entry.Name));

    [TestCaseSource(nameof(LimitedCases))]
    public void Text_TooExpensive_PassesALimit(string name)
    {
        GrammarException fault = Assert.Throws<GrammarException>(() => Limited.First(entry => entry.Name == name).Compile())!;
        Assert.That(fault.Kind, Is.EqualTo(GrammarErrorKind.Limit), fault.Message);
        Assert.That(fault.Message, Does.Contain("more than").Or.Contain("deeper than").Or.Contain("too many"));
    }

    [TestCase("(a*)*")]
    [TestCase("((a*)*)*b")]
    [TestCase("(a|a|a|a)*")]
    [TestCase("((a?){20}){20}")]
    [TestCase("(|a|b|)+")]
    [TestCase("(.*,){15}x")]
    public void Pattern_ThatBacktracks_CompilesWithinBounds(string pattern) => Assert.That(() => OutputGrammar.FromRegex(pattern, Tight), Throws.Nothing);

    [TestCase("""{"$ref":"#"}""", "$ref")]
    [TestCase("""{"$ref":"#/$defs/a","$defs":{"a":{"$ref":"#/$defs/b"},"b":{"allOf":[{"$ref":"#/$defs/a"}]}}}""", "$ref")]
    [TestCase("""{"anyOf":[{"type":"null"},{"$ref":"#"}]}""", "$ref")]
    [TestCase("""{"$ref":"#/$defs/none"}""", "$ref")]
    [TestCase("""{"$ref":"#nowhere"}""", "$ref")]
    [TestCase("""{"type":"strin"}""", "type")]
    [TestCase("""{"type":5}""", "type")]
    [TestCase("""{"minLength":-1}""", "minLength")]
    [TestCase("""{"maxItems":1.5}""", "maxItems")]
    [TestCase("""{"required":"a"}""", "required")]
    [TestCase("""{"properties":[]}""", "properties")]
    [TestCase("""{"properties":{"a":5}}""", "schema")]
    [TestCase("""{"anyOf":[]}""", "anyOf")]
    [TestCase("""{"enum":1}""", "enum")]
    [TestCase("""{"multipleOf":0}""", "multipleOf")]
    [TestCase("""{"minimum":"1"}""", "minimum")]
    [TestCase("""{"pattern":"("}""", "pattern")]
    [TestCase("""{"exclusiveMinimum":true}""", "exclusiveMinimum")]
    [TestCase("""{"items":[{}],"prefixItems":[{}]}""", "items")]
    [TestCase("{\"type\":\"string\",\"type\":\"null\"}", "schema")]
    [TestCase("{\"const\":\"\\ud800\"}", "schema")]
    [TestCase("{\"properties\":{\"\\udc00x\":{}}}", "schema")]
    [TestCase("{", "schema")]
    [TestCase("", "schema")]
    [TestCase("[]", "schema")]
    public void Schema_Malformed_IsInvalid(string schema, string keyword)
    {
        GrammarException fault = Assert.Throws<GrammarException>(() => OutputGrammar.FromJsonSchema(schema))!;
        Assert.That((fault.Kind, fault.Subject), Is.EqualTo((GrammarErrorKind.Invalid, keyword)), fault.Message);
    }

    [TestCase("""{"items":{"not":{}}}""", "not", "#/items")]
    [TestCase("""{"if":{},"then":{}}""", "if", "#")]
    [TestCase("""{"properties":{"a/b":{"contains":{}}}}""", "contains", "#/properties/a~1b")]
    [TestCase("""{"uniqueItems":true}""", "uniqueItems", "#")]
    [TestCase("""{"dependentRequired":{}}""", "dependentRequired", "#")]
    [TestCase("""{"anything":1}""", "anything", "#")]
    [TestCase("""{"format":"regex"}""", "format", "#")]
    [TestCase("""{"properties":{"a":{"id":"b"}}}""", "id", "#/properties/a")]
    [TestCase("""{"$ref":"https://example.com/other.json"}""", "$ref", "#")]
    [TestCase("""{"anyOf":[{"type":"null"}],"unevaluatedProperties":false}""", "unevaluatedProperties", "#")]
    [TestCase("""{"oneOf":[{"type":"integer"},{"type":"number"}]}""", "oneOf", "#")]
    [TestCase("""{"pattern":"(?=a)"}""", "pattern", "#")]
    [TestCase("""{"multipleOf":1000003}""", "multipleOf", "")]
    public void Schema_NotServed_IsRefusedByNameAndPath(string schema, string keyword, string place)
    {
        GrammarException fault = Assert.Throws<GrammarException>(() => OutputGrammar.FromJsonSchema(schema))!;
        Assert.That((fault.Kind, fault.Subject, fault.Place), Is.EqualTo((GrammarErrorKind.NotServed, keyword, place)), fault.Message);
    }

    [TestCase("false")]
    [TestCase("""{"type":"integer","minimum":5,"maximum":4}""")]
    [TestCase("""{"type":"string","minLength":5,"maxLength":4}""")]
    [TestCase("""{"type":"string","allOf":[{"pattern":"^a$"},{"pattern":"^b$"}]}""")]
    [TestCase("""{"type":"object","properties":{"a":false},"required":["a"]}""")]
    [TestCase("""{"type":"object","properties":{"a":{"$ref":"#"}},"required":["a"]}""")]
    [TestCase("""{"enum":[]}""")]
    [TestCase("""{"enum":["abc"],"maxLength":2}""")]
    [TestCase("""{"allOf":[{"type":"string"},{"type":"null"}]}""")]
    public void Schema_NothingSatisfies_SaysSo(string schema) =>
        Assert.That(Assert.Throws<GrammarException>(() => OutputGrammar.FromJsonSchema(schema))!.Kind, Is.EqualTo(GrammarErrorKind.Unsatisfiable));

    [TestCase("""{"properties":{"foo":{"const":1}}}""", """{"f\u006fo":2}""", false)]
    [TestCase("""{"properties":{"foo":{"const":1}}}""", """{"fo":2}""", true)]
    [TestCase("""{"properties":{"foo":{"const":1}}}""", """{"fox\u006f":2}""", true)]
    [TestCase("""{"properties":{"foo":{"const":1}}}""", """{"foo":1,"foo":2}""", false)]
    [TestCase("""{"properties":{"foo":{"const":1}}}""", """{"\u0066oo":2}""", false)]
    [TestCase("""{"properties":{"a\nb":{"const":1}}}""", """{"a\u000ab":2}""", false)]
    [TestCase("""{"properties":{"a\nb":{"const":1}}}""", """{"a\nb":1}""", true)]
    [TestCase("""{"properties":{"😀":{"const":1}}}""", """{"\ud83d\ude00":2}""", false)]
    [TestCase("""{"properties":{"a/b":{"const":1}}}""", """{"a\/b":2}""", false)]
    [TestCase("""{"type":"string","maxLength":2}""", "\"\\ud83d\\ude00é\"", true)]
    [TestCase("""{"type":"string","maxLength":1}""", "\"\\ud83d\\ude00é\"", false)]
    [TestCase("""{"type":"string"}""", "\"\\ud83d\"", false)]
    [TestCase("""{"type":"string"}""", "\"\\udc00\\ud83d\"", false)]
    [TestCase("""{"type":"array"}""", "[1,  2]", false)]
    [TestCase("""{"type":"array"}""", "[1, 2]", true)]
    [TestCase("""{"type":"array"}""", "[1,2]\n", false)]
    public void Text_SpelledOtherwise_IsJudgedByItsValue(string schema, string text, bool accepted) =>
        Assert.That(OutputGrammar.FromJsonSchema(schema).Accepts(Encoding.UTF8.GetBytes(text)), Is.EqualTo(accepted));

    [Test]
    public void Output_DeeperThanTheStack_IsNotAllowedToGoOn()
    {
        OutputGrammar grammar = OutputGrammar.FromJsonSchema("{}", GrammarLimits.Default with { StackDepth = 10 });
        int deepest = Enumerable.Range(1, 40).Last(depth => grammar.Accepts(Encoding.UTF8.GetBytes(new string('[', depth) + new string(']', depth))));
        Assert.That(deepest, Is.InRange(5, 12));
        GrammarMatcher matcher = grammar.NewMatcher(Vocabularies.Small);
        Assert.That(matcher.AdvanceBytes(Encoding.UTF8.GetBytes(new string('[', deepest))), Is.True);
        Assert.That(Vocabularies.Mask(matcher), Is.EqualTo(Vocabularies.BruteForce(matcher)));
    }

    [Test]
    public void Output_WithTooManyReadings_IsALimit()
    {
        OutputGrammar grammar = OutputGrammar.FromGbnf("root ::= " + string.Join(" | ", Enumerable.Range(0, 40).Select(i => $"r{i} \"{i}\"")) + "\n"
            + string.Concat(Enumerable.Range(0, 40).Select(i => $"r{i} ::= \"(\" r{i} \")\" | \"x\"\n")), GrammarLimits.Default with { Readings = 20 });
        Assert.That(Assert.Throws<GrammarException>(() => grammar.Accepts("((x"u8))!.Kind, Is.EqualTo(GrammarErrorKind.Limit));
    }
}
