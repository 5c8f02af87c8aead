using System.Globalization;
using System.Text.Json.Nodes;
using YamlDotNet.Core;
using YamlDotNet.RepresentationModel;

namespace TpServe.Deploy.Tests;

/// <summary>YAML as JSON: anchors and merge keys expanded, plain scalars typed by the core schema.</summary>
internal static class Yaml
{
    public static JsonObject Load(string text)
    {
        YamlStream stream = [];
        stream.Load(new StringReader(text));
        return stream.Documents.Count == 1
            ? (JsonObject)Convert(stream.Documents[0].RootNode)!
            : throw new InvalidDataException($"{stream.Documents.Count} documents where one is expected");
    }

    private static JsonNode? Convert(YamlNode node) => node switch
    {
        YamlMappingNode mapping => Convert(mapping),
        YamlSequenceNode sequence => new JsonArray([.. sequence.Children.Select(Convert)]),
        YamlScalarNode scalar => Convert(scalar),
        _ => throw new InvalidDataException($"a node of type {node.NodeType} is not expected"),
    };

    private static JsonObject Convert(YamlMappingNode mapping)
    {
        JsonObject result = [];
        foreach ((YamlNode key, YamlNode value) in mapping.Children)
            if (((YamlScalarNode)key).Value is { } name && name != "<<")
                result.Add(name, Convert(value));
        // What is merged in yields to what stands here, whatever the order.
        if (mapping.Children.TryGetValue(new YamlScalarNode("<<"), out YamlNode? merged))
            foreach ((string name, JsonNode? value) in Convert((YamlMappingNode)merged))
                if (!result.ContainsKey(name))
                    result.Add(name, value?.DeepClone());
        return result;
    }

    private static JsonValue? Convert(YamlScalarNode scalar)
    {
        string text = scalar.Value ?? "";
        if (scalar.Style != ScalarStyle.Plain)
            return JsonValue.Create(text);
        if (text is "" or "~" or "null")
            return null;
        if (text is "true" or "false")
            return JsonValue.Create(text == "true");
        // Kubernetes' reader takes a leading zero as octal, as YAML 1.1 has it.
        if (text.Length > 1 && text[0] == '0' && text.All(char.IsAsciiDigit))
            return JsonValue.Create(System.Convert.ToInt64(text, 8));
        if (long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out long whole))
            return JsonValue.Create(whole);
        if (double.TryParse(text, NumberStyles.Float, CultureInfo.InvariantCulture, out double real) && !text.Any(char.IsAsciiLetter))
            return JsonValue.Create(real);
        return JsonValue.Create(text);
    }
}
