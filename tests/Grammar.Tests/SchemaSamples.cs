using System.Text.Json;
using Json.Schema;

namespace TpServe.Grammar.Tests;

/// <summary>Schemas as people write them for models, and one for each keyword with its edges.</summary>
internal static class SchemaSamples
{
    public static IReadOnlyList<string> All { get; } =
    [
        "{}",
        "true",
        """{"type":"object"}""",
        """{"type":"array"}""",
        """{"type":"string"}""",
        """{"type":"number"}""",
        """{"type":"integer"}""",
        """{"type":["string","null"]}""",
        """{"type":["integer","boolean","array"],"items":{"type":"null"},"maxItems":3}""",
        """{"enum":[1,"two",null,true,[1,{"a":2}],{"b":[],"c":"d e"}]}""",
        """{"const":{"name":"x \" y","list":[1,2.5,-3]}}""",
        """{"type":"integer","minimum":0}""",
        """{"type":"integer","minimum":-17,"maximum":1024}""",
        """{"type":"integer","exclusiveMinimum":9,"exclusiveMaximum":12}""",
        """{"type":"integer","minimum":99999999999999999,"maximum":100000000000000010}""",
        """{"type":"integer","multipleOf":7,"minimum":-100,"maximum":100}""",
        """{"type":"integer","multipleOf":100}""",
        """{"type":"number","minimum":0,"maximum":1}""",
        """{"type":"number","exclusiveMinimum":0,"exclusiveMaximum":1}""",
        """{"type":"number","minimum":-2.75,"maximum":-0.125}""",
        """{"type":"number","exclusiveMinimum":-0.5,"maximum":1000.25}""",
        """{"type":"number","multipleOf":0.5,"minimum":-4,"maximum":4}""",
        """{"type":"number","maximum":-1}""",
        """{"type":"string","minLength":3,"maxLength":5}""",
        """{"type":"string","minLength":40}""",
        """{"type":"string","maxLength":0}""",
        """{"type":"string","pattern":"^[A-Z]{2}-\\d{3,5}$"}""",
        """{"type":"string","pattern":"ab"}""",
        """{"type":"string","pattern":"^[^\"\\\\]*$","maxLength":12,"minLength":2}""",
        """{"type":"string","pattern":"\\n|\\t|\""}""",
        """{"type":"string","allOf":[{"pattern":"a"},{"pattern":"^[ -~]{4,9}$"}]}""",
        """{"type":"string","format":"date"}""",
        """{"type":"string","format":"date-time"}""",
        """{"type":"string","format":"time"}""",
        """{"type":"string","format":"uuid"}""",
        """{"type":"string","format":"email"}""",
        """{"type":"string","format":"ipv4"}""",
        """{"type":"string","format":"ipv6"}""",
        """{"type":"string","format":"hostname"}""",
        """{"type":"string","format":"uri"}""",
        """{"type":"string","format":"uri-reference"}""",
        """{"type":"string","format":"uri-template"}""",
        """{"type":"string","format":"json-pointer"}""",
        """{"type":"string","format":"duration"}""",
        """{"type":"integer","format":"int32"}""",
        """{"type":["number","string"],"format":"uint8"}""",
        """{"type":"array","items":{"enum":["a","b",3,[1]]},"uniqueItems":true,"minItems":2}""",
        """{"type":"array","items":{"enum":["a","b","c","d","e","f","g","h"]},"uniqueItems":true,"minItems":1,"maxItems":4}""",
        """{"type":"array","items":{"type":"integer"},"minItems":2,"maxItems":4}""",
        """{"type":"array","prefixItems":[{"type":"string"},{"type":"boolean"}],"items":{"type":"integer"},"minItems":1}""",
        """{"type":"array","prefixItems":[{"const":1},{"const":2}],"items":false}""",
        """{"type":"array","items":{"anyOf":[{"type":"null"},{"type":"array","items":{"enum":["a","b"]}}]}}""",
        """{"type":"object","properties":{"name":{"type":"string","maxLength":20},"age":{"type":"integer","minimum":0,"maximum":150}},"required":["name","age"],"additionalProperties":false}""",
        """{"type":"object","properties":{"a":{"type":"null"},"ab":{"type":"boolean"},"abc":{"type":"integer"},"b":{"const":1}},"required":["ab"],"additionalProperties":false}""",
        """{"type":"object","properties":{"a":{"type":"integer"},"name":{"type":"boolean"}}}""",
        """{"type":"object","properties":{"a":{"type":"integer"},"é\"":{"type":"boolean"}},"additionalProperties":{"type":"null"},"required":["é\"","other"]}""",
        """{"type":"object","additionalProperties":{"type":"array","items":{"type":"number"}},"maxProperties":2}""",
        """{"type":"object","properties":{"a":{},"b":{},"c":{}},"additionalProperties":false,"minProperties":2,"maxProperties":2}""",
        """{"type":"object","properties":{"a":{"type":"boolean"}},"minProperties":1,"additionalProperties":{"type":"boolean"}}""",
        """{"type":"object","patternProperties":{"^n":{"type":"integer"},"e$":{"minimum":5}},"additionalProperties":false}""",
        """{"type":"object","properties":{"name":{"type":"string"}},"patternProperties":{"^a":{"type":"null"}},"additionalProperties":{"type":"boolean"}}""",
        """{"type":"object","propertyNames":{"pattern":"^[a-c]{1,3}$"},"additionalProperties":{"const":0}}""",
        """{"type":"object","propertyNames":{"enum":["a","b","name"]},"required":["a"],"properties":{"b":{"type":"string"},"z":{"type":"string"}}}""",
        """{"allOf":[{"type":"object","properties":{"a":{"type":"integer"}},"required":["a"]},{"properties":{"a":{"minimum":3},"b":{"type":"string"}},"required":["b"]}]}""",
        """{"allOf":[{"properties":{"a":{"type":"integer"}},"additionalProperties":{"type":"boolean"},"type":"object"},{"properties":{"b":{}},"required":["b"]}]}""",
        """{"anyOf":[{"type":"object","properties":{"kind":{"const":"circle"},"r":{"type":"number"}},"required":["kind","r"],"additionalProperties":false},{"type":"object","properties":{"kind":{"const":"square"},"side":{"type":"integer"}},"required":["kind","side"],"additionalProperties":false}]}""",
        """{"oneOf":[{"type":"object","properties":{"type":{"const":"a"},"v":{"type":"integer"}},"required":["type"]},{"type":"object","properties":{"type":{"const":"b"},"v":{"type":"string"}},"required":["type"]}]}""",
        """{"oneOf":[{"type":"string","maxLength":3},{"type":"string","minLength":4,"maxLength":6},{"type":"integer","maximum":0},{"type":"integer","exclusiveMinimum":0}]}""",
        """{"type":"object","properties":{"x":{"type":"string"}},"required":["x"],"anyOf":[{"required":["y"]},{"properties":{"x":{"maxLength":2}}}]}""",
        """{"$defs":{"node":{"type":"object","properties":{"value":{"type":"integer"},"children":{"type":"array","items":{"$ref":"#/$defs/node"},"maxItems":2}},"required":["value"],"additionalProperties":false}},"$ref":"#/$defs/node"}""",
        """{"$defs":{"list":{"anyOf":[{"type":"null"},{"type":"object","properties":{"head":{"type":"boolean"},"tail":{"$ref":"#/$defs/list"}},"required":["head","tail"],"additionalProperties":false}]}},"$ref":"#/$defs/list"}""",
        """{"$defs":{"expr":{"anyOf":[{"type":"integer","minimum":0,"maximum":9},{"type":"array","prefixItems":[{"enum":["+","*"]},{"$ref":"#/$defs/expr"},{"$ref":"#/$defs/expr"}],"items":false,"minItems":3}]}},"$ref":"#/$defs/expr"}""",
        """{"type":"object","properties":{"city":{"type":"string"},"unit":{"type":"string","enum":["celsius","fahrenheit"]},"days":{"type":"integer","minimum":1,"maximum":14},"when":{"type":["string","null"],"format":"date"}},"required":["city","unit"],"additionalProperties":false}""",
        """{"type":"object","title":"Order","description":"An order","properties":{"id":{"type":"string","format":"uuid"},"lines":{"type":"array","minItems":1,"items":{"type":"object","properties":{"sku":{"type":"string","pattern":"^[A-Z0-9]{4}$"},"count":{"type":"integer","minimum":1,"default":1},"price":{"type":"number","minimum":0,"multipleOf":0.01}},"required":["sku","count"],"additionalProperties":false}},"note":{"type":["string","null"],"maxLength":30}},"required":["id","lines"],"additionalProperties":false}""",
    ];
}

/// <summary>Somebody else's judgement: JsonSchema.Net, with formats enforced.</summary>
internal sealed class SchemaValidator(string schema)
{
    private readonly JsonSchema _schema = JsonSchema.FromText(schema);
    private readonly EvaluationOptions _options = new() { OutputFormat = OutputFormat.Flag, RequireFormatValidation = true };

    /// <summary>Whether a JSON text is valid.</summary>
    public bool Accepts(byte[] text)
    {
        using JsonDocument value = JsonDocument.Parse(text);
        return _schema.Evaluate(value.RootElement, _options).IsValid;
    }
}
