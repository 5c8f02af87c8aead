namespace TpServe.ChatTemplates.Methods;

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
