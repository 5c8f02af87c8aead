using System.Globalization;
using System.Net;
using System.Text;

namespace TpServe.Gateway.Reports.Pages;

/// <summary>Builds HTML and SVG. What comes as text or as a value is escaped; only names that stand in this program's source become tags.</summary>
internal sealed class Markup
{
    private readonly StringBuilder _text = new();

    /// <summary>Text, escaped.</summary>
    public Markup Text(string text)
    {
        _text.Append(WebUtility.HtmlEncode(text));
        return this;
    }

    /// <summary>An opening tag; values of attributes are escaped.</summary>
    public Markup Open(string tag, params (string Name, object Value)[] attributes)
    {
        _text.Append('<').Append(tag);
        foreach ((string name, object value) in attributes)
            _text.Append(' ').Append(name).Append("=\"").Append(WebUtility.HtmlEncode(Convert.ToString(value, CultureInfo.InvariantCulture) ?? "")).Append('"');
        _text.Append('>');
        return this;
    }

    /// <summary>A closing tag.</summary>
    public Markup Close(string tag)
    {
        _text.Append("</").Append(tag).Append('>');
        return this;
    }

    /// <summary>A tag with a text in it.</summary>
    public Markup Element(string tag, string text, params (string Name, object Value)[] attributes) => Open(tag, attributes).Text(text).Close(tag);

    /// <summary>What another one has built.</summary>
    public Markup Add(Markup inner)
    {
        _text.Append(inner._text);
        return this;
    }

    /// <summary>A line break between tags.</summary>
    public Markup Line()
    {
        _text.Append('\n');
        return this;
    }

    /// <summary>What stands in this program's source: the style sheet.</summary>
    public Markup Constant(string source)
    {
        _text.Append(source);
        return this;
    }

    /// <summary>A table; the first cell of a row names it.</summary>
    public Markup Table(string caption, IReadOnlyList<string> titles, IEnumerable<IReadOnlyList<string>> rows)
    {
        Open("div", ("class", "wide")).Open("table").Element("caption", caption).Open("thead").Open("tr");
        foreach (string title in titles)
            Element("th", title, ("scope", "col"));
        Close("tr").Close("thead").Open("tbody");
        foreach (IReadOnlyList<string> row in rows)
        {
            Open("tr").Element("th", row[0], ("scope", "row"));
            foreach (string cell in row.Skip(1))
                Element("td", cell);
            Close("tr").Line();
        }
        return Close("tbody").Close("table").Close("div").Line();
    }

    /// <inheritdoc/>
    public override string ToString() => _text.ToString();
}
