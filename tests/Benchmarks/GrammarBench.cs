using System.Diagnostics;
using System.Globalization;
using System.Text;
using System.Text.Json;
using TpServe.Checkpoint;
using TpServe.Grammar;
using TpServe.Grammar.Masks;
using TpServe.Tokenization;

namespace TpServe.Benchmarks;

/// <summary>What a mask costs: for each vocabulary and schema, the mask before every token of documents that satisfy it.</summary>
/// <remarks>
/// A grammar is compiled anew for each schema, so the first document meets cold caches ("first"); the others show the steady state. The vocabulary of 128k
/// is Llama 3's where it has been fetched (tests/Data/tokenizers/fetch-vocabularies.sh), else SmolLM2's with joined pairs of its tokens.
/// </remarks>
internal static class GrammarBench
{
    private const int Documents = 12;

    public static void Run(string repository)
    {
        (string Name, TokenTrie Trie)[] vocabularies = [("SmolLM2", SmolLm2(repository)), Large(repository)];
        foreach ((string name, TokenTrie trie) in vocabularies)
        {
            long start = Stopwatch.GetTimestamp();
            Walk(OutputGrammar.JsonObject(), trie, """{"warm":["up",1,true,null,{"a":"b"}]}"""); // compiles the code, and learns the vocabulary's strings
            Console.WriteLine(Format($"\n{name}: {trie.VocabularySize} tokens, {trie.Nodes} nodes, longest {trie.LongestToken} bytes; strings learned in {Stopwatch.GetElapsedTime(start).TotalMilliseconds:F0} ms"));
            Console.WriteLine("schema               compile ms   nodes   first µs   avg µs   p50 µs   p99 µs   max µs   masks");
            List<double> all = [], compiles = [];
            foreach ((string schemaName, string schema, Func<Random, object?> make) in Schemas())
            {
                start = Stopwatch.GetTimestamp();
                OutputGrammar grammar = OutputGrammar.FromJsonSchema(schema);
                double compile = Stopwatch.GetElapsedTime(start).TotalMilliseconds;
                compiles.Add(compile);
                List<double> micros = [];
                double first = 0;
                for (int document = 0; document < Documents; document++)
                {
                    micros.AddRange(Walk(grammar, trie, Serialize(make(new Random(document)))));
                    if (document == 0)
                        first = micros.Average();
                }
                all.AddRange(micros);
                Console.WriteLine(Row(schemaName, compile, grammar.Nodes, first, micros));
            }
            Console.WriteLine(Row("all", compiles.Max(), 0, 0, all));
        }
    }

    private static string Row(string name, double compile, int nodes, double first, List<double> micros)
    {
        double[] sorted = [.. micros.Order()];
        return Format($"{name,-20} {compile,10:F1} {nodes,7} {first,10:F1} {micros.Average(),8:F1} {sorted[sorted.Length / 2],8:F1} {sorted[(int)(sorted.Length * 0.99)],8:F1} {sorted[^1],8:F1} {sorted.Length,7}");
    }

    private static string Format(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);

    // The longest token at each place, as tokenizers mostly choose; each must be in the mask that is timed.
    private static List<double> Walk(OutputGrammar grammar, TokenTrie trie, string document)
    {
        byte[] text = Encoding.UTF8.GetBytes(document);
        GrammarMatcher matcher = grammar.NewMatcher(trie);
        ulong[] mask = new ulong[trie.MaskWords];
        Dictionary<string, int> ids = Ids(trie);
        List<double> micros = [];
        for (int at = 0; at < text.Length;)
        {
            long start = Stopwatch.GetTimestamp();
            matcher.FillMask(mask);
            micros.Add(Stopwatch.GetElapsedTime(start).TotalMicroseconds);
            int token = -1, length = Math.Min(trie.LongestToken, text.Length - at);
            for (; length > 0; length--)
                if (ids.TryGetValue(Encoding.Latin1.GetString(text, at, length), out token))
                    break;
            if (length == 0 || (mask[token >> 6] >> (token & 63) & 1) == 0 || !matcher.Advance(token))
                throw new InvalidOperationException($"not allowed after {Encoding.UTF8.GetString(text, 0, at)}: {Encoding.UTF8.GetString(text, at, text.Length - at)}");
            at += length;
        }
        return matcher.IsAccepting ? micros : throw new InvalidOperationException($"not whole: {document}");
    }

    private static readonly Dictionary<TokenTrie, Dictionary<string, int>> KnownIds = [];

    private static Dictionary<string, int> Ids(TokenTrie trie)
    {
        if (!KnownIds.TryGetValue(trie, out Dictionary<string, int>? ids))
        {
            KnownIds.Add(trie, ids = []);
            for (int token = 0; token < trie.VocabularySize; token++)
                if (trie.BytesOf(token).Length > 0)
                    ids.TryAdd(Encoding.Latin1.GetString(trie.BytesOf(token)), token);
        }
        return ids;
    }

    private static TokenTrie SmolLm2(string repository) => TokenTrie.Of(Tokenizer.Create(
        new TokenizerFiles { TokenizerJson = File.ReadAllBytes(Path.Combine(repository, "tests/Data/tokenizers/smollm2-gguf.tokenizer.json")) }));

    private static (string, TokenTrie) Large(string repository)
    {
        string cache = Path.Combine(repository, ".goldens-cache");
        string? llama = Directory.Exists(cache) ? Directory.EnumerateFiles(cache, "*.json", SearchOption.AllDirectories).FirstOrDefault(path => path.Contains("llama3", StringComparison.OrdinalIgnoreCase)) : null;
        if (llama is not null)
            return ("Llama 3", TokenTrie.Of(Tokenizer.Create(new TokenizerFiles { TokenizerJson = File.ReadAllBytes(llama) })));
        TokenTrie small = SmolLm2(repository);
        List<byte[]?> tokens = [.. Enumerable.Range(0, small.VocabularySize).Select(token => small.BytesOf(token).ToArray())];
        HashSet<string> known = [.. Ids(small).Keys];
        Random random = new(1);
        while (tokens.Count < 128_256)
        {
            byte[] joined = [.. small.BytesOf(random.Next(small.VocabularySize)), .. small.BytesOf(random.Next(small.VocabularySize))];
            if (joined.Length is > 2 and < 14 && known.Add(Encoding.Latin1.GetString(joined)))
                tokens.Add(joined);
        }
        return ("SmolLM2 and pairs", TokenTrie.Of(tokens));
    }

    private static string Serialize(object? value) => JsonSerializer.Serialize(value, Relaxed);

    private static readonly JsonSerializerOptions Relaxed = new() { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    private static readonly string[] Words = "the quick brown fox jumps over a lazy dog while 42 engineers measure throughput (and latency) of tokens: naïve café “quotes” per second, \"exactly\" once".Split(' ');

    private static string Text(Random random, int words) => string.Join(' ', Enumerable.Range(0, words).Select(_ => Words[random.Next(Words.Length)]));

    private static IEnumerable<(string, string, Func<Random, object?>)> Schemas()
    {
        yield return ("json_object", """{"type":"object"}""", random => new Dictionary<string, object?> { ["title"] = Text(random, 8), ["n"] = random.Next(1000), ["list"] = new object?[] { 1.5, true, null, Text(random, 3) }, ["inner"] = new { a = 1, b = Text(random, 5) } });
        yield return ("weather tool", """{"type":"object","properties":{"city":{"type":"string"},"unit":{"type":"string","enum":["celsius","fahrenheit"]},"days":{"type":"integer","minimum":1,"maximum":14}},"required":["city","unit"],"additionalProperties":false}""",
            random => new { city = Text(random, 3), unit = "celsius", days = random.Next(1, 15) });
        yield return ("person", """{"type":"object","properties":{"name":{"type":"string","minLength":1,"maxLength":100},"age":{"type":"integer","minimum":0,"maximum":150},"email":{"type":"string","format":"email"},"tags":{"type":"array","items":{"type":"string"}},"born":{"type":"string","format":"date"}},"required":["name","age","email"]}""",
            random => new { name = Text(random, 3), age = random.Next(100), email = "jane.doe@example.org", tags = new[] { Text(random, 1), Text(random, 2) }, born = "1999-12-31" });
        yield return ("order", """{"type":"object","properties":{"id":{"type":"string","format":"uuid"},"placed":{"type":"string","format":"date-time"},"lines":{"type":"array","minItems":1,"items":{"type":"object","properties":{"sku":{"type":"string","pattern":"^[A-Z]{3}-[0-9]{4}$"},"count":{"type":"integer","minimum":1},"price":{"type":"number","minimum":0}},"required":["sku","count"],"additionalProperties":false}},"note":{"type":["string","null"],"maxLength":300}},"required":["id","lines"],"additionalProperties":false}""",
            random => new { id = "3f2504e0-4f89-11d3-9a0c-0305e82c3301", placed = "2024-02-29T12:30:00Z", lines = Enumerable.Range(0, 3).Select(i => new { sku = "ABC-0" + random.Next(100, 999), count = i + 1, price = 12.5 + i }), note = Text(random, 12) });
        yield return ("tree", """{"$defs":{"node":{"type":"object","properties":{"label":{"type":"string"},"children":{"type":"array","items":{"$ref":"#/$defs/node"}}},"required":["label","children"],"additionalProperties":false}},"$ref":"#/$defs/node"}""",
            random => Node(random, 3));
        yield return ("shapes", """{"type":"array","items":{"anyOf":[{"type":"object","properties":{"kind":{"const":"circle"},"radius":{"type":"number"}},"required":["kind","radius"],"additionalProperties":false},{"type":"object","properties":{"kind":{"const":"square"},"side":{"type":"number"},"name":{"type":"string"}},"required":["kind","side"],"additionalProperties":false}]}}""",
            random => Enumerable.Range(0, 5).Select(i => i % 2 == 0 ? (object)new { kind = "circle", radius = random.Next(99) } : new { kind = "square", side = 2.25, name = Text(random, 2) }));
        yield return ("pattern text", """{"type":"object","properties":{"slug":{"type":"string","pattern":"^[a-z0-9]+(-[a-z0-9]+)*$"},"line":{"type":"string","pattern":"^[^\\n]*$"},"code":{"type":"string","pattern":"^.{1,60}$"}},"required":["slug","line","code"],"additionalProperties":false}""",
            random => new { slug = "some-slug-of-" + random.Next(1000), line = Text(random, 8), code = Text(random, 4) });
        yield return ("short strings", """{"type":"array","items":{"type":"string","minLength":2,"maxLength":24}}""", random => Enumerable.Range(0, 5).Select(_ => Text(random, 6)[..10]));
        string wide = """{"type":"object","properties":{""" + string.Join(',', Enumerable.Range(0, 50).Select(i => $"\"{Words[i % 6]}_field_{i}\":" + (i % 5) switch
        {
            0 => """{"type":"string"}""",
            1 => """{"type":"integer","minimum":0,"maximum":1000}""",
            2 => """{"type":"boolean"}""",
            3 => """{"type":"array","items":{"type":"number"}}""",
            _ => """{"type":"string","enum":["red","green","blue"]}""",
        })) + "}";
        Func<Random, object?> fill = random => Enumerable.Range(0, 50).Where(i => i % 4 != 3 || random.Next(2) == 0).ToDictionary(i => $"{Words[i % 6]}_field_{i}", i => (i % 5) switch { 0 => Text(random, 3), 1 => random.Next(1001), 2 => true, 3 => new[] { 1.5, 2 }, _ => (object)"green" });
        yield return ("50 optional", wide + ",\"additionalProperties\":false}", fill);
        yield return ("50 open", wide + "}", fill);
        yield return ("50 required", wide + ",\"additionalProperties\":false,\"required\":[" + string.Join(',', Enumerable.Range(0, 50).Where(i => i % 4 != 3).Select(i => $"\"{Words[i % 6]}_field_{i}\"")) + "]}", fill);
    }

    private static object Node(Random random, int depth) => new { label = Text(random, 2), children = Enumerable.Range(0, depth == 0 ? 0 : 2).Select(_ => Node(random, depth - 1)) };
}
