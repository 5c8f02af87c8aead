using System.Globalization;
using System.Numerics;
using System.Text.Json;
using TpServe.ChatTemplates.Evaluation;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates;

/// <summary>Makes what a request hands to a template. Every text in it counts as the request's data; integers keep all their digits.</summary>
/// <remarks>
/// Errors   <see cref="ChatTemplateException"/>: JSON that holds what is no text or no number, nests too deep, or has too many digits.
/// Source   values as Python's json module reads them, except that a number beyond a double is refused.
/// </remarks>
public static class RequestValue
{
    private const int MaxDepth = 256;

    /// <summary>The work of making values is linear in the request's length, which whoever reads the request bounds.</summary>
    private static readonly RenderLimits s_unbounded = new(int.MaxValue, MaxDepth, int.MaxValue, TimeSpan.MaxValue);

    /// <summary>Python's None, JSON's null.</summary>
    public static Value None => NoneValue.Instance;

    /// <summary>True or false.</summary>
    public static Value Of(bool flag) => BoolValue.Of(flag);

    /// <summary>An integer of up to 4300 digits.</summary>
    public static Value Of(BigInteger number) => IntValue.Of(number);

    /// <summary>A floating-point number, which prints with a point or an exponent.</summary>
    public static Value Of(double number) => new FloatValue(number);

    /// <summary>A text, well-formed UTF-16.</summary>
    public static Value Of(string text) => StringValue.Data(text);

    /// <summary>A list.</summary>
    public static Value List(IEnumerable<Value> items) => new ListValue([.. items]);

    /// <summary>A map, in the order given; of two entries with one name the later counts, at the place of the earlier.</summary>
    public static Value Map(IEnumerable<KeyValuePair<string, Value>> entries)
    {
        RenderState state = new(s_unbounded, default, CancellationToken.None);
        DictValue map = new();
        foreach ((string name, Value value) in entries)
            map.Set(state, StringValue.Data(name), value);
        return map;
    }

    /// <summary>What JSON says.</summary>
    public static Value FromJson(JsonElement element)
    {
        try
        {
            return Read(element, 1);
        }
        catch (InvalidOperationException fault) // JSON can escape half of a surrogate pair
        {
            throw new ChatTemplateException(ChatTemplateErrorReason.Input, "The request holds text that is not valid Unicode.", null, fault);
        }
    }

    private static Value Read(JsonElement element, int depth)
    {
        if (depth > MaxDepth)
            throw Fault.Limit($"The request nests deeper than the limit of {MaxDepth}.");
        return element.ValueKind switch
        {
            JsonValueKind.Object => Map(element.EnumerateObject().Select(property => KeyValuePair.Create(property.Name, Read(property.Value, depth + 1)))),
            JsonValueKind.Array => List(element.EnumerateArray().Select(item => Read(item, depth + 1))),
            JsonValueKind.String => Of(element.GetString()!),
            JsonValueKind.Number => Number(element.GetRawText()),
            JsonValueKind.True => Of(true),
            JsonValueKind.False => Of(false),
            _ => None,
        };
    }

    private static Value Number(string text)
    {
        if (text.AsSpan().IndexOfAny(".eE") < 0)
            return PythonNumbers.TryParseInteger(text, 10, out BigInteger integer)
                ? Of(integer)
                : throw Fault.Input($"A number of {text.Length} digits is above the limit.");
        double number = double.Parse(text, CultureInfo.InvariantCulture);
        return double.IsFinite(number) ? Of(number) : throw Fault.Input("A number is beyond the range of a double.");
    }
}
