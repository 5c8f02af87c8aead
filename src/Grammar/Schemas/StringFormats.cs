using TpServe.Grammar.Automata;
using TpServe.Grammar.Regexes;

namespace TpServe.Grammar.Schemas;

/// <summary>The formats of strings that are enforced: each accepts nothing that is not of the format, and some leave out rare spellings of it.</summary>
/// <remarks>
/// date, time     RFC 3339 with upper-case T and Z; no leap seconds, no year 0000, at most nine digits of a second; dates exist in the calendar.
/// email          a dotted atom at two to four labels, the last of letters; no quoted local parts, no address literals.
/// uri            a scheme, "//", a registered name, a path, query and fragment of ASCII; no user, no IP literal, no scheme without authority.
/// hostname       ASCII labels without two hyphens in a row.
/// uri-reference  a path from the root with query and fragment, or a uri; iri, iri-reference, idn-email and idn-hostname are written in ASCII.
/// uri-template   a uri or path with simple variables. json-pointer: of ASCII. byte: base64 (OpenAPI).
/// </remarks>
internal static class StringFormats
{
    private const string Time = "([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](\\.[0-9]{1,9})?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])";
    private const string Year = "([1-9][0-9]{3}|0[1-9][0-9]{2}|00[1-9][0-9]|000[1-9])";
    private const string LeapYear = "(([0-9]{2}(0[48]|[2468][048]|[13579][26]))|(([02468][48]|[2468]0|[13579][26])00))";
    private const string Date = "(" + Year + "-((0[13578]|1[02])-(0[1-9]|[12][0-9]|3[01])|(0[469]|11)-(0[1-9]|[12][0-9]|30)|02-(0[1-9]|1[0-9]|2[0-8]))|" + LeapYear + "-02-29)";
    private const string Label = "[A-Za-z0-9]{1,16}(-[A-Za-z0-9]{1,16}){0,2}";
    private const string Host = Label + "(\\." + Label + "){0,3}";
    private const string Atom = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]{1,20}";
    private const string UriChar = "([A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})";
    private const string Email = Atom + "(\\." + Atom + "){0,2}@(" + Label + "\\.){1,3}[A-Za-z]{2,16}";
    private const string Rest = "(/" + UriChar + "*)*(\\?(" + UriChar + "|[/?])*)?(#(" + UriChar + "|[/?])*)?";
    private const string Uri = "[A-Za-z][A-Za-z0-9+.-]{0,15}://" + Host + "(:[1-9][0-9]{0,3})?" + Rest;
    private const string UriReference = Uri + "|/(" + UriChar + "+" + Rest + ")?";
    private const string Variable = "\\{[A-Za-z_][A-Za-z0-9_]{0,30}\\}";
    private const string ShortTime = "T([0-9]{1,4}H([0-9]{1,3}M([0-9]{1,3}S)?)?|[0-9]{1,4}M([0-9]{1,3}S)?|[0-9]{1,5}S)";
    private const string Octet = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
    private const string Hextet = "[0-9A-Fa-f]{1,4}";

    private static readonly Dictionary<string, string> Patterns = new()
    {
        ["date"] = Date,
        ["time"] = Time,
        ["date-time"] = Date + "T" + Time,
        ["uuid"] = "[0-9A-Fa-f]{8}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{4}-[0-9A-Fa-f]{12}",
        ["email"] = Email,
        ["hostname"] = Host,
        ["ipv4"] = Octet + "(\\." + Octet + "){3}",
        ["ipv6"] = Ipv6(),
        ["uri"] = Uri,
        ["iri"] = Uri,
        ["uri-reference"] = UriReference,
        ["iri-reference"] = UriReference,
        ["uri-template"] = "(https?://" + Host + ")?(/([A-Za-z0-9._~-]|" + Variable + ")+)*/?",
        ["idn-email"] = Email,
        ["idn-hostname"] = Host,
        ["json-pointer"] = "(/([ !-.0-}]|~[01])*)*",
        ["duration"] = "P(([0-9]{1,4}Y([0-9]{1,2}M([0-9]{1,3}D)?)?|[0-9]{1,3}M([0-9]{1,3}D)?|[0-9]{1,4}D)(" + ShortTime + ")?|" + ShortTime + "|[0-9]{1,4}W)",
        ["byte"] = "([A-Za-z0-9+/]{4})*([A-Za-z0-9+/][AQgw]==|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=)?",
    };

    public static bool IsServed(string format) => Patterns.ContainsKey(format);

    /// <summary>The texts of a format, over characters.</summary>
    public static Dfa Automaton(string format, CompileBudget budget) => Pattern.Whole(Patterns[format], budget);

    // Eight groups, or fewer with one "::" that stands for at least one; without an IPv4 tail.
    private static string Ipv6()
    {
        List<string> forms = [Hextet + "(:" + Hextet + "){7}"];
        for (int before = 0; before <= 7; before++)
        {
            string head = before == 0 ? "" : Hextet + "(:" + Hextet + "){" + (before - 1) + "}";
            int after = 7 - before;
            string tail = after == 0 ? "" : "(" + Hextet + "(:" + Hextet + "){0," + (after - 1) + "})?";
            forms.Add(head + "::" + tail);
        }
        return "(" + string.Join('|', forms) + ")";
    }
}
