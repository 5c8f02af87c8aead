using System.Globalization;
using System.Text;
using System.Text.Json;
using TpServe.Checkpoint;

namespace TpServe.Gateway.Reports.Inputs;

/// <summary>A file of the user's cannot be used; names file, line and what is wrong.</summary>
internal sealed class InputFileException : Exception
{
    public InputFileException(string message) : base(message)
    {
    }

    public InputFileException(string flag, string path, int line, string fault)
        : base(string.Create(CultureInfo.InvariantCulture, $"{flag} {path}, line {line}: {fault}"))
    {
    }
}

/// <summary>Files that a report reads: text in UTF-8, of bounded size.</summary>
internal static class InputFile
{
    /// <summary>Largest file.</summary>
    public const long MostBytes = 64L << 20;

    private static readonly UTF8Encoding s_strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    /// <summary>Strings in JSON lines come no deeper than this.</summary>
    public static JsonDocumentOptions Json { get; } = new() { MaxDepth = 16 };

    /// <summary>The whole file.</summary>
    /// <exception cref="InputFileException">It is no readable, regular file of UTF-8, or is too large.</exception>
    public static string ReadText(string flag, string path) => Decode(flag, path, ReadBytes(flag, path), line: 1);

    /// <summary>Its lines with their numbers from 1, without those that hold nothing but white space.</summary>
    /// <exception cref="InputFileException">As <see cref="ReadText"/>; a line that is no UTF-8 is named.</exception>
    public static IReadOnlyList<(int Number, string Text)> ReadLines(string flag, string path)
    {
        byte[] bytes = ReadBytes(flag, path);
        List<(int Number, string Text)> lines = [];
        int start = bytes.AsSpan().StartsWith(Encoding.UTF8.Preamble) ? Encoding.UTF8.Preamble.Length : 0;
        for (int number = 1; start < bytes.Length; number++)
        {
            int length = bytes.AsSpan(start).IndexOf((byte)'\n');
            length = length < 0 ? bytes.Length - start : length;
            string text = Decode(flag, path, bytes.AsSpan(start, length), number).Trim('\r');
            if (!string.IsNullOrWhiteSpace(text))
                lines.Add((number, text));
            start += length + 1;
        }
        return lines;
    }

    /// <summary>What a JSON parser says, without the place inside a line that it counts from 0.</summary>
    public static string Reason(JsonException fault) => $"no JSON: {fault.Message.Split(" LineNumber:")[0].TrimEnd('.')}, at byte {(fault.BytePositionInLine ?? 0) + 1}.";

    private static byte[] ReadBytes(string flag, string path)
    {
        if (RegularFile.Fault(path) is { } irregular)
            throw new InputFileException($"{flag} {path} {irregular}; a regular file is needed.");
        try
        {
            using FileStream file = File.OpenRead(path);
            if (file.Length > MostBytes)
                throw new InputFileException(string.Create(CultureInfo.InvariantCulture, $"{flag} {path} has {file.Length} bytes; at most {MostBytes} are read."));
            byte[] bytes = new byte[file.Length];
            file.ReadExactly(bytes);
            return bytes;
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new InputFileException($"{flag} {path} cannot be read: {fault.Message}");
        }
    }

    private static string Decode(string flag, string path, ReadOnlySpan<byte> bytes, int line)
    {
        try
        {
            return s_strict.GetString(bytes);
        }
        catch (DecoderFallbackException fault)
        {
            throw new InputFileException(flag, path, line + bytes[..fault.Index].Count((byte)'\n'), string.Create(CultureInfo.InvariantCulture, $"its byte {fault.Index + 1} begins no character of UTF-8."));
        }
    }
}
