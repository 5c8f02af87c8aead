using System.ComponentModel;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace TpServe.Clients.Tests;

/// <summary>A function for models to call. Its one argument is one of a few words, so that a small model's call is short.</summary>
internal sealed class Weather
{
    public const string Name = "get_weather";

    /// <summary>JSON Schema of its arguments, for clients that take them as text.</summary>
    public const string Schema = """{"type":"object","properties":{"city":{"type":"string","enum":["Bonn","Ulm"]}},"required":["city"],"additionalProperties":false}""";

    /// <summary>Cities that were asked about.</summary>
    public List<City> Asked { get; } = [];

    [Description("Tells the weather of a city.")]
    public string Tell([Description("Name of the city.")] City city)
    {
        Asked.Add(city);
        return $"Sunny in {city}.";
    }

    /// <summary>Whether the arguments of a call are what the schema says.</summary>
    public static bool Accepts(string arguments)
    {
        using JsonDocument document = JsonDocument.Parse(arguments);
        return document.RootElement.EnumerateObject().Single() is { Name: "city" } city && Enum.TryParse<City>(city.Value.GetString(), out _);
    }
}

/// <summary>Cities that have weather.</summary>
[JsonConverter(typeof(JsonStringEnumConverter<City>))]
internal enum City
{
    Bonn,
    Ulm,
}
