using NUnit.Framework;
using TpServe.Gateway.Answers;
using TpServe.Gateway.Engine;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Tests.Answers;

/// <summary>What a parser makes of a text, put together.</summary>
internal sealed record Parsed(string Text, string Reasoning, IReadOnlyList<ToolCallPiece> Calls)
{
    /// <summary>Two tools: one with texts, one with numbers.</summary>
    public static IReadOnlyList<ToolDefinition> Tools { get; } =
    [
        new("get_weather", "Get the weather.", """{"type":"object","properties":{"location":{"type":"string"},"unit":{"enum":["celsius","fahrenheit"]}},"required":["location"],"additionalProperties":false}""", false),
        new("add", null, """{"type":"object","properties":{"a":{"type":"number"},"b":{"type":"integer"},"tags":{"type":"array","items":{"type":"string"}}},"required":["a","b"],"additionalProperties":false}""", false),
    ];

    /// <summary>The calls as one text each.</summary>
    public IEnumerable<string> Said => Calls.Select(call => call.Name + call.Arguments);

    /// <summary>The text given in the pieces, told apart.</summary>
    public static Parsed Of(IAnswerParser parser, IEnumerable<string> pieces)
    {
        string text = "", reasoning = "";
        List<ToolCallPiece> calls = [];
        foreach (AnswerPiece piece in pieces.Select(parser.Take).Append(default))
        {
            AnswerPiece told = piece.Text is null ? parser.End() : piece;
            text += told.Text;
            reasoning += told.Reasoning;
            foreach (ToolCallPiece call in told.ToolCalls)
            {
                if (call.Id is null)
                    Assert.That(call.Index, Is.EqualTo(calls.Count - 1), "a piece of a call that has not begun");
                if (call.Index == calls.Count)
                    calls.Add(call);
                else
                    calls[call.Index] = calls[call.Index] with { Arguments = calls[call.Index].Arguments + call.Arguments };
            }
        }
        return new Parsed(text, reasoning, calls);
    }

    /// <summary>The same whole, letter by letter, and cut anywhere by some seeds: always the same.</summary>
    public static Parsed OfEveryCut(Func<IAnswerParser> begin, string text)
    {
        Parsed whole = Of(begin(), [text]);
        AssertSame(Of(begin(), text.Select(letter => letter.ToString())), "letter by letter");
        for (int cut = 1; cut < text.Length; cut++)
            AssertSame(Of(begin(), [text[..cut], text[cut..]]), $"cut at {cut}");
        for (int seed = 0; seed < 10; seed++)
        {
            Random random = new(seed);
            List<string> pieces = [];
            for (int at = 0; at < text.Length;)
            {
                int length = Math.Min(random.Next(0, 7), text.Length - at);
                pieces.Add(text.Substring(at, length));
                at += length;
            }
            AssertSame(Of(begin(), pieces), $"seed {seed}");
        }
        return whole;

        void AssertSame(Parsed other, string how)
        {
            Assert.That((other.Text, other.Reasoning), Is.EqualTo((whole.Text, whole.Reasoning)), how);
            Assert.That(other.Calls, Is.EqualTo(whole.Calls), how);
        }
    }
}
