using System.Text;
using System.Text.Json;
using TpServe.Grammar.Automata;

namespace TpServe.Grammar.Schemas;

/// <summary>A schema inside a document: where it stands, and the URI that its references are relative to.</summary>
internal sealed record SchemaNode(int Id, JsonElement Element, string Pointer, string BaseUri)
{
    public string Place => "#" + Pointer;
}

/// <summary>A schema's document: finds what references mean. Nothing outside of it is ever read.</summary>
/// <remarks>Errors   <see cref="GrammarException"/> for malformed JSON and for references that lead nowhere or outside.</remarks>
internal sealed class SchemaSource
{
    private readonly CompileBudget _budget;
    private readonly Dictionary<string, SchemaNode> _nodes = [];
    private readonly Dictionary<string, SchemaNode> _byUri = [];

    public SchemaSource(string text, CompileBudget budget)
    {
        _budget = budget;
        if (text.Length > budget.Limits.TextChars)
            throw GrammarException.Limit("characters of a schema", budget.Limits.TextChars);
        JsonElement root;
        try
        {
            RefuseHalfPairs(text);
            root = JsonDocument.Parse(text, new JsonDocumentOptions { MaxDepth = budget.Limits.Depth, AllowDuplicateProperties = false }).RootElement;
        }
        catch (JsonException fault)
        {
            bool tooDeep = fault.Message.Contains("maximum configured depth", StringComparison.Ordinal);
            throw new GrammarException(tooDeep ? GrammarErrorKind.Limit : GrammarErrorKind.Invalid, "schema",
                fault.LineNumber is { } line ? $"line {line + 1}, column {fault.BytePositionInLine + 1}" : "", tooDeep ? $"deeper than {budget.Limits.Depth}" : "it is not JSON: " + fault.Message);
        }
        Root = Make(root, "", "");
        Index(Root);
    }

    public SchemaNode Root { get; }

    /// <summary>A schema below another.</summary>
    public SchemaNode Child(SchemaNode node, JsonElement element, string keyword, string? key = null) =>
        Make(element, node.Pointer + "/" + Escape(keyword) + (key is null ? "" : "/" + Escape(key)), node.BaseUri);

    /// <summary>The schema that a $ref of a schema means.</summary>
    public SchemaNode Resolve(SchemaNode from, string reference)
    {
        int hash = reference.IndexOf('#');
        string uri = hash < 0 ? reference : reference[..hash], fragment = hash < 0 ? "" : Uri.UnescapeDataString(reference[(hash + 1)..]);
        string target = uri.Length == 0 ? from.BaseUri : Join(from.BaseUri, uri);
        SchemaNode? resource = target == Root.BaseUri ? Root : _byUri.GetValueOrDefault(target);
        if (resource is null)
            throw new GrammarException(GrammarErrorKind.NotServed, "$ref", from.Place, $"'{reference}' is outside of the schema");
        if (fragment.Length == 0)
            return resource;
        if (fragment[0] != '/')
            return _byUri.GetValueOrDefault(target + "#" + fragment) ?? throw new GrammarException(GrammarErrorKind.Invalid, "$ref", from.Place, $"'{reference}' is no anchor of the schema");
        SchemaNode node = resource;
        foreach (string token in fragment[1..].Split('/').Select(part => part.Replace("~1", "/", StringComparison.Ordinal).Replace("~0", "~", StringComparison.Ordinal)))
        {
            JsonElement? next = node.Element.ValueKind switch
            {
                JsonValueKind.Object when node.Element.TryGetProperty(token, out JsonElement property) => property,
                JsonValueKind.Array when int.TryParse(token, out int index) && index >= 0 && index < node.Element.GetArrayLength() => node.Element[index],
                _ => null,
            };
            node = Child(node, next ?? throw new GrammarException(GrammarErrorKind.Invalid, "$ref", from.Place, $"'{reference}' leads to nothing"), token);
        }
        return node;
    }

    // JSON may spell half of a surrogate pair; such a string is no text, and nothing later expects it.
    private static void RefuseHalfPairs(string text)
    {
        for (int at = text.AsSpan().IndexOfAnyInRange('\uD800', '\uDFFF'); at >= 0 && at < text.Length; at += char.IsSurrogate(text[at]) ? 2 : 1)
            if (char.IsSurrogate(text[at]) && !char.IsSurrogatePair(text, at))
                throw new GrammarException(GrammarErrorKind.Invalid, "schema", $"character {at}", "it holds half of a surrogate pair");
        byte[] bytes = Encoding.UTF8.GetBytes(text);
        Utf8JsonReader reader = new(bytes, new JsonReaderOptions { MaxDepth = int.MaxValue });
        while (reader.Read())
        {
            if (reader.TokenType is not (JsonTokenType.String or JsonTokenType.PropertyName))
                continue;
            try
            {
                _ = reader.ValueIsEscaped ? reader.GetString() : null;
            }
            catch (InvalidOperationException)
            {
                throw new GrammarException(GrammarErrorKind.Invalid, "schema", $"byte {reader.TokenStartIndex}", "a string holds half of a surrogate pair");
            }
        }
    }

    private SchemaNode Make(JsonElement element, string pointer, string parentUri)
    {
        if (_nodes.TryGetValue(pointer, out SchemaNode? known))
            return known;
        _budget.Spend(1 + pointer.Length);
        string uri = parentUri;
        if (element.ValueKind == JsonValueKind.Object && element.TryGetProperty("$id", out JsonElement id) && id.ValueKind == JsonValueKind.String && Text(id) is { Length: > 0 } own && own[0] != '#')
            uri = Join(parentUri, own.Split('#')[0]);
        SchemaNode node = new(_nodes.Count, element, pointer, uri);
        _nodes.Add(pointer, node);
        return node;
    }

    // Every $id and $anchor, also below keywords that are not served: a reference may lead there.
    private void Index(SchemaNode node)
    {
        if (node.Element.ValueKind == JsonValueKind.Array)
        {
            foreach ((int index, JsonElement item) in node.Element.EnumerateArray().Index())
                if (item.ValueKind is JsonValueKind.Object or JsonValueKind.Array)
                    Index(Make(item, node.Pointer + "/" + index, node.BaseUri));
            return;
        }
        if (node.Element.ValueKind != JsonValueKind.Object)
            return;
        foreach (JsonProperty property in node.Element.EnumerateObject())
        {
            if (property.Name == "$id" && property.Value.ValueKind == JsonValueKind.String)
                _byUri.TryAdd(node.BaseUri, node);
            else if (property.Name == "$anchor" && property.Value.ValueKind == JsonValueKind.String)
                _byUri.TryAdd(node.BaseUri + "#" + Text(property.Value), node);
            else if (property.Name is not ("enum" or "const" or "default" or "examples") && property.Value.ValueKind is JsonValueKind.Object or JsonValueKind.Array)
                Index(Child(node, property.Value, property.Name));
        }
    }

    private static string Join(string baseUri, string reference)
    {
        if (Uri.TryCreate(baseUri, UriKind.Absolute, out Uri? origin) && Uri.TryCreate(origin, reference, out Uri? joined))
            return joined.AbsoluteUri;
        return Uri.TryCreate(reference, UriKind.Absolute, out Uri? absolute) ? absolute.AbsoluteUri : reference;
    }

    private static string Escape(string token) => token.Replace("~", "~0", StringComparison.Ordinal).Replace("/", "~1", StringComparison.Ordinal);

    /// <summary>A JSON string's characters.</summary>
    public static string Text(JsonElement element) => element.GetString()!;

    /// <summary>A value for a message.</summary>
    public static string Shorten(JsonElement element)
    {
        string text = element.GetRawText();
        return text.Length <= 60 ? text : new StringBuilder(text, 0, 60, 64).Append('…').ToString();
    }
}
