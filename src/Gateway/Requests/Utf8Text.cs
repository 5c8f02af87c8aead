namespace TpServe.Gateway.Requests;

/// <summary>Text that can be written as UTF-8.</summary>
internal static class Utf8Text
{
    /// <summary>Refuses half of a surrogate pair: no UTF-8 stands for it.</summary>
    public static void Require(string field, string text)
    {
        for (int i = 0; i < text.Length; i++)
        {
            if (!char.IsSurrogate(text[i]))
                continue;
            if (!char.IsHighSurrogate(text[i]) || i + 1 == text.Length || !char.IsLowSurrogate(text[i + 1]))
                throw RequestRejectedException.Invalid(field, $"'{field}' is not valid Unicode: character {i} is half of a surrogate pair.");
            i++;
        }
    }
}
