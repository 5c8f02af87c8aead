using System.Globalization;
using System.Text;

namespace TpServe.ChatTemplates.Evaluation;

/// <summary>strftime in the C locale: English names, Gregorian calendar.</summary>
/// <remarks>
/// Source   ISO C, strftime, with the glibc flags - (no padding), _ (blanks), 0 (zeros), ^ (capitals).
/// </remarks>
internal static class Strftime
{
    public static string Format(DateTimeOffset time, string format)
    {
        StringBuilder text = new();
        for (int at = 0; at < format.Length; at++)
        {
            if (format[at] != '%' || at + 1 == format.Length)
            {
                text.Append(format[at]);
                continue;
            }
            int start = at++;
            char flag = format[at] is '-' or '_' or '0' or '^' && at + 1 < format.Length ? format[at++] : '\0';
            string? field = Field(time, format[at]);
            text.Append(field is null ? format[start..(at + 1)] : Apply(flag, field, format[at]));
        }
        return text.ToString();
    }

    private static string Apply(char flag, string field, char letter)
    {
        bool isNumber = field.All(char.IsAsciiDigit) && letter is not '%';
        return flag switch
        {
            '-' when isNumber => field.TrimStart('0') is { Length: > 0 } trimmed ? trimmed : "0",
            '-' => field.TrimStart(' '),
            '_' when isNumber => (field.TrimStart('0') is { Length: > 0 } digits ? digits : "0").PadLeft(field.Length),
            '0' => field.Replace(' ', '0'),
            '^' => field.ToUpperInvariant(),
            _ => field,
        };
    }

    private static string? Field(DateTimeOffset time, char letter)
    {
        CultureInfo culture = CultureInfo.InvariantCulture;
        int hour12 = time.Hour % 12 == 0 ? 12 : time.Hour % 12;
        return letter switch
        {
            'a' => time.ToString("ddd", culture),
            'A' => time.ToString("dddd", culture),
            'b' or 'h' => time.ToString("MMM", culture),
            'B' => time.ToString("MMMM", culture),
            'c' => time.ToString("ddd MMM ", culture) + Blank(time.Day) + time.ToString(" HH:mm:ss yyyy", culture),
            'C' => Two(time.Year / 100),
            'd' => Two(time.Day),
            'D' or 'x' => time.ToString("MM/dd/yy", culture),
            'e' => Blank(time.Day),
            'F' => time.ToString("yyyy-MM-dd", culture),
            'f' => (time.Ticks % TimeSpan.TicksPerSecond / 10).ToString("000000", culture),
            'G' => ISOWeek.GetYear(time.DateTime).ToString("0000", culture),
            'g' => Two(ISOWeek.GetYear(time.DateTime) % 100),
            'H' => Two(time.Hour),
            'I' => Two(hour12),
            'j' => time.DayOfYear.ToString("000", culture),
            'k' => Blank(time.Hour),
            'l' => Blank(hour12),
            'm' => Two(time.Month),
            'M' => Two(time.Minute),
            'n' => "\n",
            'p' => time.Hour < 12 ? "AM" : "PM",
            'P' => time.Hour < 12 ? "am" : "pm",
            'r' => Two(hour12) + time.ToString(":mm:ss ", culture) + (time.Hour < 12 ? "AM" : "PM"),
            'R' => time.ToString("HH:mm", culture),
            's' => time.ToUnixTimeSeconds().ToString(culture),
            'S' => Two(time.Second),
            't' => "\t",
            'T' or 'X' => time.ToString("HH:mm:ss", culture),
            'u' => (time.DayOfWeek == DayOfWeek.Sunday ? 7 : (int)time.DayOfWeek).ToString(culture),
            'U' => Two((time.DayOfYear + 6 - (int)time.DayOfWeek) / 7),
            'V' => Two(ISOWeek.GetWeekOfYear(time.DateTime)),
            'w' => ((int)time.DayOfWeek).ToString(culture),
            'W' => Two((time.DayOfYear + 6 - ((int)time.DayOfWeek + 6) % 7) / 7),
            'y' => Two(time.Year % 100),
            'Y' => time.Year.ToString(culture),
            'z' or 'Z' => "", // the clock is Python's naive one
            '%' => "%",
            _ => null,
        };
    }

    private static string Two(int number) => number.ToString("00", CultureInfo.InvariantCulture);

    private static string Blank(int number) => number.ToString(CultureInfo.InvariantCulture).PadLeft(2);
}
