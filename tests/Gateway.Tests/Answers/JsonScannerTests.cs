using System.Text;
using System.Text.Json;
using NUnit.Framework;
using TpServe.Gateway.Answers;

namespace TpServe.Gateway.Tests.Answers;

/// <summary>What the scanner takes to its end is what the platform's reader takes.</summary>
public sealed class JsonScannerTests
{
    [TestCase("""{"a": [1, -2.5e+3, "x\"\\\u00e9", {"b": null}], "c": {}}""", true)]
    [TestCase("""{}""", true)]
    [TestCase("""[ ]""", true)]
    [TestCase("""{"a":1,}""", false)]
    [TestCase("""{"a" 1}""", false)]
    [TestCase("""{"a":01}""", false)]
    [TestCase("""{"a":tru}""", false)]
    [TestCase("""{"a":"\x"}""", false)]
    [TestCase("[1,]", false)]
    [TestCase("[,1]", false)]
    [TestCase("{]", false)]
    [TestCase("[\"a\nb\"]", false)]
    [TestCase("{\"a\":", false)]
    public void Take_Text_EndsWhereItIsJson(string text, bool isJson) => Assert.That((Takes(text), IsJson(text)), Is.EqualTo((isJson, isJson)));

    [Test]
    public void Take_RandomPieces_AgreesWithTheReader()
    {
        string[] pieces = ["{", "}", "[", "]", "\"a\"", "\"\\n\"", ":", ",", "1", "-0", "1.5", "true", "null", " ", "\"", "\\u00", "e"];
        int valid = 0;
        for (int seed = 0; seed < 20_000; seed++)
        {
            Random random = new(seed);
            string text = "[" + string.Concat(Enumerable.Range(0, random.Next(0, 6)).Select(_ => pieces[random.Next(pieces.Length)])) + "]";
            bool expected = IsJson(text);
            valid += expected ? 1 : 0;
            Assert.That(Takes(text), Is.EqualTo(expected), text);
        }
        Assert.That(valid, Is.GreaterThan(200));
    }

    [Test]
    public void InValue_OfEachMember_SpansItsValue()
    {
        const string Text = """{ "a" : {"b": [1, "]"]} , "c":12.5,"d": "x\"y" ,"e":null}""";
        Dictionary<string, string> found = [];
        JsonScanner json = new();
        StringBuilder value = new();
        foreach (char letter in Text)
        {
            Assert.That(json.Take(letter), Is.True);
            if (json.InValue)
                value.Append(letter);
            if (json.ValueIsOver)
            {
                found.Add(json.Key!, value.ToString());
                value.Clear();
            }
        }
        Assert.That(json.IsDone, Is.True);
        Assert.That(found, Is.EqualTo(new Dictionary<string, string> { ["a"] = """{"b": [1, "]"]}""", ["c"] = "12.5", ["d"] = """
            "x\"y"
            """, ["e"] = "null" }));
    }

    [Test]
    public void Take_TooDeep_IsRefused() => Assert.That(Takes(new string('[', 5000) + new string(']', 5000)), Is.False);

    private static bool Takes(string text)
    {
        JsonScanner json = new();
        foreach (char letter in text)
            if (json.IsDone || !json.Take(letter))
                return false;
        return json.IsDone;
    }

    private static bool IsJson(string text)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(text);
            return true;
        }
        catch (JsonException)
        {
            return false;
        }
    }
}
