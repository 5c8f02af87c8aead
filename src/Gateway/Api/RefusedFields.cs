using System.Text.Json;
using Grpc.Core;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Api;

/// <summary>Fields of a dialect that this release does not serve and that would change the answer: refused by name, never passed over.</summary>
/// <param name="names">Their names.</param>
internal sealed class RefusedFields(params IEnumerable<string> names)
{
    private readonly HashSet<string> _names = [.. names];

    /// <summary>Refuses the first such field whose value asks for something.</summary>
    /// <param name="fields">Those of a body that it has no property for.</param>
    /// <param name="place">Where they stand, as errors name it: empty, or "options.".</param>
    public void Refuse(Dictionary<string, JsonElement>? fields, string place = "")
    {
        foreach ((string name, JsonElement value) in fields ?? [])
            if (_names.Contains(name) && !AsksForNothing(value))
                throw RequestRejectedException.Unimplemented(place + name);
    }

    /// <summary>The refusal of one of the words that a field may hold.</summary>
    public static RequestRejectedException Refusal(string field, string value)
    {
        string shown = value.Length <= 64 ? value : value[..64] + "…";
        return new(StatusCode.Unimplemented, "FIELD_NOT_IMPLEMENTED", $"'{field}' is '{shown}', which is not implemented in this release.", field, shown);
    }

    /// <summary>What a client may write out although it is as if it were not there.</summary>
    public static bool AsksForNothing(JsonElement? value) => value is not { } given || given.ValueKind switch
    {
        JsonValueKind.Null or JsonValueKind.False => true,
        JsonValueKind.Array => given.GetArrayLength() == 0,
        JsonValueKind.Object => !given.EnumerateObject().Any(),
        JsonValueKind.String => given.ValueEquals(""),
        _ => false,
    };
}
