using System.Text;
using NUnit.Framework;

namespace TpServe.Grammar.Tests;

/// <summary>Words of older drafts and of OpenAPI that have only one meaning, and what they let through.</summary>
[Parallelizable(ParallelScope.All)]
public sealed class OlderDraftTests
{
    [TestCase("""{"type":"array","items":[{"const":1},{"const":2}],"additionalItems":false}""", "[1,2]", true)]
    [TestCase("""{"type":"array","items":[{"const":1},{"const":2}],"additionalItems":false}""", "[1,2,3]", false)]
    [TestCase("""{"type":"array","items":[{"const":1}],"additionalItems":{"type":"null"}}""", "[1,null]", true)]
    [TestCase("""{"type":"array","items":[{"const":1}],"additionalItems":{"type":"null"}}""", "[1,1]", false)]
    [TestCase("""{"type":"array","items":{"const":1},"additionalItems":false}""", "[1,1,1]", true)]
    [TestCase("""{"type":"integer","minimum":1,"exclusiveMinimum":true}""", "1", false)]
    [TestCase("""{"type":"integer","minimum":1,"exclusiveMinimum":true}""", "2", true)]
    [TestCase("""{"type":"integer","minimum":1,"exclusiveMinimum":false}""", "1", true)]
    [TestCase("""{"type":"integer","maximum":9,"exclusiveMaximum":true}""", "9", false)]
    [TestCase("""{"id":"http://example.com/root.json","type":"null"}""", "null", true)]
    [TestCase("""{"type":"integer","format":"int32"}""", "2147483647", true)]
    [TestCase("""{"type":"integer","format":"int32"}""", "2147483648", false)]
    [TestCase("""{"type":"number","format":"int64"}""", "1.5", false)]
    [TestCase("""{"type":"string","format":"int64"}""", "\"x\"", true)]
    [TestCase("""{"type":"number","format":"double"}""", "1.5", true)]
    [TestCase("""{"type":"string","nullable":true}""", "null", false)]
    [TestCase("""{"type":["string","null"],"nullable":true}""", "null", true)]
    [TestCase("""{"type":"string","format":"byte"}""", "\"TQ==\"", true)]
    [TestCase("""{"type":"string","format":"byte"}""", "\"TR==\"", false)]
    [TestCase("""{"type":"array","items":{"enum":[1,2,3]},"uniqueItems":true}""", "[3,1,2]", true)]
    [TestCase("""{"type":"array","items":{"enum":[1,2,3]},"uniqueItems":true}""", "[3,1,3]", false)]
    [TestCase("""{"type":"array","items":{"enum":[1,1.0,2]},"uniqueItems":true}""", "[1,1]", false)]
    [TestCase("""{"type":"array","items":{"enum":[1,2,3,4,5,6,7]},"uniqueItems":true,"maxItems":2}""", "[2,7]", true)]
    [TestCase("""{"type":"array","items":{"enum":[1,2,3,4,5,6,7]},"uniqueItems":true,"maxItems":2}""", "[2,5,7]", false)]
    [TestCase("""{"type":"array","items":{"enum":[1,2,3,4,5,6,7]},"uniqueItems":true}""", "[2,2]", false)]
    [TestCase("""{"type":"array","items":{"enum":[1,2]},"uniqueItems":true,"minItems":1}""", "[]", false)]
    [TestCase("""{"type":"array","items":{"type":"string"},"uniqueItems":true,"maxItems":1}""", "[\"a\"]", true)]
    [TestCase("""{"const":[1,1],"uniqueItems":true,"anyOf":[true]}""", "[1,1]", false)]
    public void Text_OfASchema_IsToldApart(string schema, string text, bool accepted)
    {
        OutputGrammar? grammar = null;
        try
        {
            grammar = OutputGrammar.FromJsonSchema(schema);
        }
        catch (GrammarException fault) when (fault.Kind == GrammarErrorKind.Unsatisfiable)
        {
            // Nothing may be written, so nothing is accepted.
        }
        Assert.That(grammar?.Accepts(Encoding.UTF8.GetBytes(text)) ?? false, Is.EqualTo(accepted));
    }
}
