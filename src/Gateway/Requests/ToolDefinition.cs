using System.Globalization;
using System.Text;
using System.Text.Json;
using TpServe.ChatTemplates;
using TpServe.ChatTemplates.Values;
using TpServe.Protos.V1;
using Value = TpServe.ChatTemplates.Values.Value;

namespace TpServe.Gateway.Requests;

/// <summary>A function that the model may call.</summary>
/// <param name="Name">1 to 64 of a-z, A-Z, 0-9, _ and -.</param>
/// <param name="Description">What it does; null = not said.</param>
/// <param name="Parameters">JSON Schema of its arguments, an object; null = it has none.</param>
/// <param name="IsStrict">Arguments follow the schema wherever it is called.</param>
public sealed record ToolDefinition(string Name, string? Description, string? Parameters, bool IsStrict)
{
    private const int MostNameCharacters = 64;

    /// <summary>The tool as the request writes it, for the template; null = put together of the others.</summary>
    public Value? Written { get; init; }

    /// <summary>The tools of a gRPC request.</summary>
    /// <exception cref="RequestRejectedException">One is malformed, or two have one name.</exception>
    public static IReadOnlyList<ToolDefinition> Of(IReadOnlyList<Tool> tools)
    {
        List<ToolDefinition> all = [];
        HashSet<string> names = [];
        foreach (Tool tool in tools)
        {
            string field = string.Create(CultureInfo.InvariantCulture, $"tools[{all.Count}].function");
            if (!tool.HasName || tool.Name.Length is 0 or > MostNameCharacters || !tool.Name.All(letter => char.IsAsciiLetterOrDigit(letter) || letter is '_' or '-'))
                throw RequestRejectedException.OutOfRange($"{field}.name", tool.HasName ? $"'{Shown(tool.Name)}'" : "not given", $"1 to {MostNameCharacters} of a-z, A-Z, 0-9, _ and -");
            if (!names.Add(tool.Name))
                throw RequestRejectedException.Invalid($"{field}.name", $"'{field}.name' is '{tool.Name}', as another tool's.");
            Utf8Text.Require($"{field}.description", tool.Description);
            string? parameters = tool.HasParametersJsonSchema && tool.ParametersJsonSchema.Length > 0 ? tool.ParametersJsonSchema : null;
            if (parameters is not null && !IsObjectSchema(parameters))
                throw RequestRejectedException.Invalid($"{field}.parameters", $"'{field}.parameters' of tool '{tool.Name}' must be a JSON Schema of type object.");
            all.Add(new ToolDefinition(tool.Name, tool.HasDescription ? tool.Description : null, parameters, tool.Strict));
        }
        return all;
    }

    /// <summary>Refuses more tools than are served.</summary>
    public static void RequireWithin(IReadOnlyList<ToolDefinition> tools, RequestLimits limits)
    {
        if (tools.Count > limits.Tools)
            throw RequestRejectedException.OutOfRange("tools", string.Create(CultureInfo.InvariantCulture, $"{tools.Count} tools"), $"at most {limits.Tools}");
        long characters = tools.Sum(tool => (long)(tool.Parameters?.Length ?? 0) + (tool.Description?.Length ?? 0));
        if (characters > limits.ToolCharacters)
            throw RequestRejectedException.OutOfRange("tools", string.Create(CultureInfo.InvariantCulture, $"{characters} characters of schemas and descriptions"), $"at most {limits.ToolCharacters}");
    }

    /// <summary>The tool as a map of the template, in the words of OpenAI.</summary>
    /// <exception cref="RequestRejectedException">The schema nests deeper than any template reads.</exception>
    public Value Shown()
    {
        if (Written is not null)
            return Written;
        List<KeyValuePair<string, Value>> function = [new("name", RequestValue.Of(Name))];
        if (Description is not null)
            function.Add(new("description", RequestValue.Of(Description)));
        if (Parameters is not null)
            function.Add(new("parameters", Schema()));
        if (IsStrict)
            function.Add(new("strict", RequestValue.Of(true)));
        return RequestValue.Map([new("type", RequestValue.Of("function")), new("function", RequestValue.Map(function))]);
    }

    /// <summary>The schema that arguments are held to: always that of an object.</summary>
    public string ArgumentsSchema
    {
        get
        {
            if (Parameters is null)
                return """{"type":"object","additionalProperties":false}""";
            using JsonDocument document = JsonDocument.Parse(Parameters);
            if (document.RootElement.TryGetProperty("type", out _))
                return Parameters;
            string rest = Parameters.TrimStart()[1..].TrimStart();
            return rest.StartsWith('}') ? """{"type":"object"}""" : $$"""{"type":"object",{{rest}}""";
        }
    }

    /// <summary>Whether a text is a JSON object that every reader of JSON can hold.</summary>
    public static bool IsObject(string json) => Check(json, static element => element.ValueKind == JsonValueKind.Object);

    private static bool IsObjectSchema(string json) => Check(json, static element =>
        element.ValueKind == JsonValueKind.Object && (!element.TryGetProperty("type", out JsonElement type) || (type.ValueKind == JsonValueKind.String && type.ValueEquals("object"))));

    private static bool Check(string json, Func<JsonElement, bool> holds)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(json);
            return Utf8Text.HalfPairIn(Encoding.UTF8.GetBytes(json)) is null && holds(document.RootElement);
        }
        catch (Exception fault) when (fault is JsonException or ArgumentException) // the latter: the text itself holds half of a surrogate pair
        {
            return false;
        }
    }

    private Value Schema()
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(Parameters!);
            return RequestValue.FromJson(document.RootElement);
        }
        catch (ChatTemplateException fault)
        {
            throw RequestRejectedException.Invalid("tools", $"The parameters of tool '{Name}' cannot be read: {fault.Message}");
        }
    }

    private static string Shown(string name) => name.Length <= MostNameCharacters ? name : name[..MostNameCharacters] + "…";
}

/// <summary>Whether and what a request's model calls.</summary>
/// <param name="Tools">What it may call; none where it must not.</param>
/// <param name="Mode">Auto, Required or Function.</param>
/// <param name="Named">Function: which one.</param>
/// <param name="Several">An answer may hold more than one call.</param>
public sealed record ToolUse(IReadOnlyList<ToolDefinition> Tools, ToolChoice.Types.Mode Mode, string? Named, bool Several)
{
    /// <summary>Nothing is called.</summary>
    public static ToolUse None { get; } = new([], ToolChoice.Types.Mode.None, null, false);

    /// <summary>The prompt shows more tools than may be called.</summary>
    public bool IsSubset { get; init; }

    /// <summary>A call must come.</summary>
    public bool IsForced => Mode is ToolChoice.Types.Mode.Required or ToolChoice.Types.Mode.Function;

    /// <summary>What a request says.</summary>
    /// <exception cref="RequestRejectedException">A call is required or allowed of a tool that there is not.</exception>
    public static ToolUse Of(ChatRequest request, IReadOnlyList<ToolDefinition> tools, RequestLimits limits)
    {
        ToolDefinition.RequireWithin(tools, limits);
        ToolChoice.Types.Mode mode = request.ToolChoice?.Mode ?? ToolChoice.Types.Mode.Unspecified;
        if (mode == ToolChoice.Types.Mode.Unspecified)
            mode = ToolChoice.Types.Mode.Auto;
        if (!Enum.IsDefined(mode))
            throw RequestRejectedException.OutOfRange("tool_choice.mode", mode.ToString(), "one of ToolChoice.Mode's values");
        if (request.ToolChoice?.Allowed is { Count: > 0 } allowed)
        {
            foreach (string name in allowed)
                if (tools.All(tool => tool.Name != name))
                    throw RequestRejectedException.Invalid("tool_choice", $"'tool_choice' allows '{(name.Length <= 64 ? name : name[..64] + "…")}', which is none of 'tools'.");
            tools = [.. tools.Where(tool => allowed.Contains(tool.Name))];
        }
        string? named = mode == ToolChoice.Types.Mode.Function ? request.ToolChoice!.Name : null;
        if (mode == ToolChoice.Types.Mode.Required && tools.Count == 0)
            throw RequestRejectedException.Invalid("tool_choice", "'tool_choice' requires a call, but 'tools' has none.");
        if (named is not null && tools.All(tool => tool.Name != named))
            throw RequestRejectedException.Invalid("tool_choice", $"'tool_choice' names '{(named.Length <= 64 ? named : named[..64] + "…")}', which is none of 'tools'.");
        return mode == ToolChoice.Types.Mode.None || tools.Count == 0
            ? None
            : new ToolUse(tools, mode, named, !request.HasParallelToolCalls || request.ParallelToolCalls) { IsSubset = request.ToolChoice?.Allowed.Count > 0 };
    }
}
