using System.Text;
using System.Text.Json;
using TpServe.Checkpoint;

namespace TpServe.Tokenization.Tests;

/// <summary>Vocabularies as a GGUF reader would give them, made from other files of the golden set.</summary>
internal static class GgufVocabularyFixtures
{
    /// <summary>A byte-level BPE from a tokenizer.json; special tokens are of type 3, other added ones of type 4.</summary>
    public static GgufVocabulary FromTokenizerJson(string path, string pre)
    {
        JsonElement root = JsonSerializer.Deserialize<JsonElement>(File.ReadAllBytes(path));
        JsonElement model = root.GetProperty("model");
        SortedDictionary<int, string> tokens = [];
        Dictionary<int, int> types = [];
        foreach (JsonProperty token in model.GetProperty("vocab").EnumerateObject())
            tokens[token.Value.GetInt32()] = token.Name;
        foreach (JsonElement token in root.GetProperty("added_tokens").EnumerateArray())
        {
            tokens[token.GetProperty("id").GetInt32()] = token.GetProperty("content").GetString()!;
            types[token.GetProperty("id").GetInt32()] = token.GetProperty("special").GetBoolean() ? 3 : 4;
        }
        return new GgufVocabulary
        {
            Model = "gpt2",
            Pre = pre,
            Tokens = [.. tokens.Values],
            Types = [.. tokens.Keys.Select(id => types.GetValueOrDefault(id, 1))],
            Merges = [.. model.GetProperty("merges").EnumerateArray().Select(merge => merge.ValueKind == JsonValueKind.String ? merge.GetString()! : $"{merge[0]} {merge[1]}")],
        };
    }

    /// <summary>A SentencePiece model file: ModelProto field 1 is a piece {1 text, 2 score, 3 type}.</summary>
    public static GgufVocabulary FromSentencePiece(string path)
    {
        List<string> tokens = [];
        List<float> scores = [];
        List<int> types = [];
        ReadOnlySpan<byte> file = File.ReadAllBytes(path);
        while (ReadField(ref file, out int field, out ReadOnlySpan<byte> content, out _))
        {
            if (field != 1)
                continue;
            string text = "";
            float score = 0;
            int type = 1;
            while (ReadField(ref content, out int part, out ReadOnlySpan<byte> bytes, out ulong number))
            {
                if (part == 1)
                    text = Encoding.UTF8.GetString(bytes);
                else if (part == 2)
                    score = BitConverter.ToSingle(bytes);
                else if (part == 3)
                    type = (int)number;
            }
            tokens.Add(text);
            scores.Add(score);
            types.Add(type);
        }
        return new GgufVocabulary { Model = "llama", Tokens = tokens, Scores = scores, Types = types, BosId = 1, EosId = 2, UnknownId = 0, AddSpacePrefix = true };
    }

    private static bool ReadField(ref ReadOnlySpan<byte> source, out int field, out ReadOnlySpan<byte> content, out ulong number)
    {
        field = 0;
        content = default;
        number = 0;
        if (source.IsEmpty)
            return false;
        ulong tag = ReadVarint(ref source);
        field = (int)(tag >> 3);
        int length = 0;
        switch (tag & 7)
        {
            case 0:
                number = ReadVarint(ref source);
                break;
            case 1:
                length = 8;
                break;
            case 2:
                length = (int)ReadVarint(ref source);
                break;
            case 5:
                length = 4;
                break;
            default:
                throw new InvalidDataException($"wire type {tag & 7}");
        }
        content = source[..length];
        source = source[length..];
        return true;
    }

    private static ulong ReadVarint(ref ReadOnlySpan<byte> source)
    {
        ulong value = 0;
        for (int shift = 0; ; shift += 7)
        {
            byte next = source[0];
            source = source[1..];
            value |= (ulong)(next & 0x7F) << shift;
            if (next < 0x80)
                return value;
        }
    }
}
