using NUnit.Framework;

namespace TpServe.Tokenization.Tests;

/// <summary>Text that is final, as early as it is: for the two families of decoders, and after a prompt.</summary>
[Parallelizable(ParallelScope.All)]
public sealed class StreamingDetokenizerTests
{
    [Test]
    public void ByteLevel_CharacterInParts_ComesWhole()
    {
        Tokenizer tokenizer = GoldenTokenizerTests.Load("bpe-gpt2");
        int[] bytes = [.. "â Ł ı".Split(' ').Select(character => tokenizer.IdOf(character)!.Value)]; // E2, 9F, B1
        StreamingDetokenizer stream = new(tokenizer, skipSpecialTokens: false);
        Assert.That(stream.Push(bytes[0]), Is.Empty);
        Assert.That(stream.Push(bytes[1]), Is.Empty);
        string whole = stream.Push(bytes[2]);
        Assert.That(whole, Is.EqualTo(tokenizer.Decode(bytes, false)).And.Length.EqualTo(1));
        Assert.That(stream.Push(bytes[0]), Is.Empty);
        Assert.That(stream.Flush(), Is.EqualTo("\uFFFD"));
    }

    [Test]
    public void ByteFallback_RunOfBytes_WaitsForItsEnd()
    {
        Tokenizer tokenizer = GoldenTokenizerTests.Load("spm-bpe-gemma");
        int[] euro = [.. "E2 82 AC".Split(' ').Select(value => tokenizer.IdOf($"<0x{value}>")!.Value)];
        int letter = tokenizer.IdOf("a")!.Value;
        StreamingDetokenizer valid = new(tokenizer, skipSpecialTokens: false);
        Assert.That(string.Concat(euro.Select(valid.Push)), Is.Empty);
        Assert.That(valid.Push(letter), Is.EqualTo("€a"));
        StreamingDetokenizer spoiled = new(tokenizer, skipSpecialTokens: false);
        Assert.That(string.Concat(euro.Append(euro[0]).Select(spoiled.Push)), Is.Empty);
        Assert.That(spoiled.Flush(), Is.EqualTo("\uFFFD\uFFFD\uFFFD\uFFFD"));
    }

    [Test]
    public void Prompt_BeforeTheStream_KeepsTheLeadingSpace()
    {
        Tokenizer tokenizer = GoldenTokenizerTests.Load("spm-bpe-llama2-legacy");
        int[] prompt = [.. tokenizer.Encode("Hello", true, true)], rest = [.. tokenizer.Encode("world", false, true)];
        StreamingDetokenizer alone = new(tokenizer, skipSpecialTokens: true);
        Assert.That(string.Concat(rest.Select(alone.Push)) + alone.Flush(), Is.EqualTo("world"));
        StreamingDetokenizer after = new(tokenizer, skipSpecialTokens: true, prompt);
        Assert.That(string.Concat(rest.Select(after.Push)) + after.Flush(), Is.EqualTo(" world"));
    }

    [Test]
    public void Prompt_EndingInBytesOfItsOwn_IsNotRepeated()
    {
        Tokenizer tokenizer = GoldenTokenizerTests.Load("spm-bpe-gemma");
        int[] euro = [.. "E2 82 AC".Split(' ').Select(value => tokenizer.IdOf($"<0x{value}>")!.Value)];
        int letter = tokenizer.IdOf("a")!.Value;
        StreamingDetokenizer stream = new(tokenizer, skipSpecialTokens: false, [letter, .. euro]);
        Assert.That(stream.Push(letter), Is.EqualTo("a"));
        StreamingDetokenizer half = new(tokenizer, skipSpecialTokens: false, [letter, .. euro[..2]]);
        Assert.That(half.Push(euro[2]) + half.Push(letter), Is.EqualTo("€a"));
    }

    [Test]
    public void SpecialTokens_Skipped_GiveNoText()
    {
        Tokenizer tokenizer = GoldenTokenizerTests.Load("bpe-qwen2-nfc");
        int end = tokenizer.IdOf("<|im_end|>")!.Value, think = tokenizer.IdOf("<think>")!.Value;
        StreamingDetokenizer stream = new(tokenizer, skipSpecialTokens: true);
        Assert.That(stream.Push(end) + stream.Push(think) + stream.Push(int.MaxValue) + stream.Flush(), Is.EqualTo("<think>"));
    }
}
