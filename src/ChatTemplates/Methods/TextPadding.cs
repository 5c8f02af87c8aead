using TpServe.ChatTemplates.Evaluation;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Methods;

/// <summary>Fills text up to a width.</summary>
internal static class TextPadding
{
    /// <summary>The text with filling up to a width in code points.</summary>
    public static StringValue Pad(RenderState state, StringValue text, int width, StringValue fill, TextAlignment alignment)
    {
        int missing = width - text.Length;
        if (missing <= 0)
            return text;
        int left = alignment switch
        {
            TextAlignment.Left => 0,
            TextAlignment.Right => missing,
            TextAlignment.Middle => missing / 2,
            _ => missing / 2 + (missing & width & 1),
        };
        return new StringAssembler(state).AppendRepeated(fill, left).Append(text).AppendRepeated(fill, missing - left).ToValue().AsMarkup(text.IsMarkup);
    }
}

/// <summary>On which side of a text padding goes.</summary>
internal enum TextAlignment
{
    /// <summary>Behind the text.</summary>
    Left,

    /// <summary>Before the text.</summary>
    Right,

    /// <summary>On both sides, the odd one behind: what format does.</summary>
    Middle,

    /// <summary>On both sides, the odd one before where the width is odd: what str.center does.</summary>
    Center,
}
