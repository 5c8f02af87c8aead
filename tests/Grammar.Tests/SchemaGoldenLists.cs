namespace TpServe.Grammar.Tests;

/// <summary>Where the automaton is narrower than JSON Schema, case by case.</summary>
internal static class SchemaGoldenLists
{
    private const string Order = "properties come in the order in which the schema declares them, and a const's in its own";
    private const string NumberForm = "an integer is written without a point, a number of an enum or const as the schema writes it or as an integer";
    private const string LeapSecond = "no leap seconds: whether there is one needs the date and the offset";
    private const string UpperCase = "T and Z are written in upper case";
    private const string Digits = "at most nine digits of a second";
    private const string Email = "no quoted local parts and no address literals";

    /// <summary>Valid by the suite, and not written by the automaton, with the reason.</summary>
    public static IReadOnlyDictionary<string, string> Rejected { get; } = new Dictionary<string, string>
    {
        ["allOf: allOf: allOf"] = Order,
        ["allOf: allOf with base schema: valid"] = Order,
        ["const: const with object: same object with different property order is valid"] = Order,
        ["const: const with 0 does not match other zero-like types: float zero is valid"] = NumberForm,
        ["const: const with 1 does not match true: float one is valid"] = NumberForm,
        ["const: float and integers are equal up to 64-bit representation limits: float is valid"] = NumberForm,
        ["enum: enum with 0 does not match false: float zero is valid"] = NumberForm,
        ["enum: enum with [0] does not match [false]: [0.0] is valid"] = NumberForm,
        ["enum: enum with 1 does not match true: float one is valid"] = NumberForm,
        ["enum: enum with [1] does not match [true]: [1.0] is valid"] = NumberForm,
        ["optional-format-date-time: validation of date-time strings: a valid date-time with a leap second, UTC"] = LeapSecond,
        ["optional-format-date-time: validation of date-time strings: a valid date-time with a leap second, with minus offset"] = LeapSecond,
        ["optional-format-date-time: validation of date-time strings: case-insensitive T and Z"] = UpperCase,
        ["optional-format-date-time: validation of date-time strings: a second fraction of fifteen nines is valid"] = Digits,
        ["optional-format-time: validation of time strings: a valid time string with leap second, Zulu"] = LeapSecond,
        ["optional-format-time: validation of time strings: valid leap second, zero time-offset"] = LeapSecond,
        ["optional-format-time: validation of time strings: valid leap second, positive time-offset"] = LeapSecond,
        ["optional-format-time: validation of time strings: valid leap second, large positive time-offset"] = LeapSecond,
        ["optional-format-time: validation of time strings: valid leap second, negative time-offset"] = LeapSecond,
        ["optional-format-time: validation of time strings: valid leap second, large negative time-offset"] = LeapSecond,
        ["optional-format-time: validation of time strings: a valid time string with case-insensitive Z"] = UpperCase,
        ["optional-format-email: validation of e-mail addresses: a quoted string with a space in the local part is valid"] = Email,
        ["optional-format-email: validation of e-mail addresses: a quoted string with a double dot in the local part is valid"] = Email,
        ["optional-format-email: validation of e-mail addresses: a quoted string with a @ in the local part is valid"] = Email,
        ["optional-format-email: validation of e-mail addresses: an IPv4-address-literal after the @ is valid"] = Email,
        ["optional-format-email: validation of e-mail addresses: an IPv6-address-literal after the @ is valid"] = Email,
        ["type: integer type matches integers: a float with zero fractional part is an integer"] = NumberForm,
    };

    /// <summary>Schemas that are refused, and the keyword that is named.</summary>
    public static IReadOnlyList<string> Refused { get; } =
    [
        "additionalProperties: dependentSchemas with additionalProperties: dependentSchemas",
        "defs: validate definition against metaschema: $ref",
        "oneOf: oneOf: oneOf",
        "oneOf: oneOf with base schema: oneOf",
        "oneOf: oneOf with boolean schemas, all true: oneOf",
        "oneOf: oneOf with boolean schemas, more than one true: oneOf",
        "oneOf: oneOf complex types: oneOf",
        "oneOf: oneOf with empty schema: oneOf",
        "oneOf: oneOf with required: oneOf",
        "oneOf: oneOf with missing optional property: oneOf",
        "ref: remote ref, containing refs itself: $ref",
        "ref: ref to if: if",
        "ref: ref to then: then",
        "ref: ref to else: else",
        "multipleOf: float division = inf: multipleOf",
    ];
}
