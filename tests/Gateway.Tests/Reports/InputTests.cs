using NUnit.Framework;
using TpServe.Gateway.Reports.Inputs;

namespace TpServe.Gateway.Tests.Reports;

public sealed class InputTests
{
    private string _file = "";

    [SetUp]
    public void MakeFile() => _file = Path.GetTempFileName();

    [TearDown]
    public void DeleteFile() => File.Delete(_file);

    [Test]
    public void Prompts_ThreeForms_AreRead()
    {
        File.WriteAllText(_file, "\uFEFFOnce upon a time\r\n\n\"two\\nlines\"\n   \n{\"id\": 3, \"prompt\": \"an object\"}\n");
        Assert.That(PromptFile.Read(_file), Is.EqualTo(new[] { new ReportPrompt("line 1", "Once upon a time"), new ReportPrompt("line 3", "two\nlines"), new ReportPrompt("line 5", "an object") }));
    }

    [TestCase("fine\n{\"text\": 1}", ", line 2: the object has no \"prompt\".")]
    [TestCase("fine\n\n{\"prompt\": 7}", ", line 3: \"prompt\" is no string.")]
    [TestCase("\"open", ", line 1: no JSON: ")]
    [TestCase("\"\"", ", line 1: the prompt is empty.")]
    [TestCase("\"\\ud800\"", ", line 1: ")]
    [TestCase("{\"prompt\": \"a\"} x", ", line 1: no JSON: ")]
    [TestCase("\n \n", " holds no prompt.")]
    public void Prompts_Wrong_NamesTheLine(string content, string fault)
    {
        File.WriteAllText(_file, content);
        Assert.That(() => PromptFile.Read(_file), Throws.TypeOf<InputFileException>().With.Message.StartsWith("--prompts " + _file + fault));
    }

    [Test]
    public void Prompts_NoUtf8_NamesLineAndByte()
    {
        File.WriteAllBytes(_file, [.. "good\nbad "u8, 0xFF, .. "\n"u8]);
        Assert.That(() => PromptFile.Read(_file), Throws.TypeOf<InputFileException>().With.Message.EndsWith(", line 2: its byte 5 begins no character of UTF-8."));
    }

    [TestCase("/no/such/file", "cannot be read")]
    [TestCase("/dev/null", "is a character device")]
    [TestCase("/", "is a folder")]
    public void Prompts_NoFile_IsToldInWords(string path, string fault) =>
        Assert.That(() => PromptFile.Read(path), Throws.TypeOf<InputFileException>().With.Message.Contains(fault));

    [Test]
    public void Eval_AnswerByPositionOrText_IsAPosition()
    {
        File.WriteAllText(_file, """
            {"prompt": "2 + 2 =", "choices": [" 4", " 5"], "answer": 0}
            {"prompt": "The sky is", "choices": [" green", " blue"], "answer": " blue"}
            """);
        IReadOnlyList<EvalItem> items = EvalFile.Read(_file);
        Assert.That(items.Select(item => (item.Line, item.Prompt, item.Answer)), Is.EqualTo(new[] { (1, "2 + 2 =", 0), (2, "The sky is", 1) }));
        Assert.That(items[1].Choices, Is.EqualTo(new[] { " green", " blue" }));
    }

    [TestCase("[]", "it is no object.")]
    [TestCase("""{"choices": ["a", "b"], "answer": 0}""", "\"prompt\" must be")]
    [TestCase("""{"prompt": "q", "choices": ["a"], "answer": 0}""", "\"choices\" must be")]
    [TestCase("""{"prompt": "q", "choices": ["a", 1], "answer": 0}""", "a choice is no string")]
    [TestCase("""{"prompt": "q", "choices": ["a", "b"]}""", "\"answer\" is missing.")]
    [TestCase("""{"prompt": "q", "choices": ["a", "b"], "answer": 2}""", "\"answer\" is not in 0..1.")]
    [TestCase("""{"prompt": "q", "choices": ["a", "b"], "answer": "c"}""", "\"answer\" is none of the choices.")]
    [TestCase("""{"prompt": "q", "choices": ["a", "b"], "answer": 0.5}""", "\"answer\" must be")]
    [TestCase("{", "no JSON: ")]
    public void Eval_Wrong_NamesTheLine(string line, string fault)
    {
        File.WriteAllText(_file, """{"prompt": "q", "choices": ["a", "b"], "answer": 1}""" + "\n" + line + "\n");
        Assert.That(() => EvalFile.Read(_file), Throws.TypeOf<InputFileException>().With.Message.StartsWith($"--eval {_file}, line 2: {fault}"));
    }

    [Test]
    public void SyntheticMix_SameSeed_IsTheSame()
    {
        IReadOnlyList<ReportPrompt> one = SyntheticMix.Create(7, 9);
        Assert.That(SyntheticMix.Create(7, 9), Is.EqualTo(one));
        Assert.That(SyntheticMix.Create(8, 9), Is.Not.EqualTo(one));
        Assert.That(one.Select(prompt => prompt.Text.Split(' ').Length), Is.EqualTo(new[] { 24, 64, 160, 24, 64, 160, 24, 64, 160 }));
    }

    [Test]
    public void Variants_DegreesAndPartitions_AreEachOnce()
    {
        IReadOnlyList<VariantSpec> specs = VariantSpec.Of("1, 2,2", ["1,3", "1,3"], "f32");
        Assert.That(specs.Select(spec => spec.Name), Is.EqualTo(new[] { "tp 1", "tp 2", "tp 2, partition 1,3" }));
        Assert.That(specs[1].Flags, Is.EqualTo(new[] { "--tp", "2", "--partition", "even", "--wire", "f32" }));
        Assert.That(specs[2].Flags, Is.EqualTo(new[] { "--tp", "2", "--partition", "1,3", "--wire", "f32" }));
    }

    [Test]
    public void Variants_Wires_AreEachWithEverySplitOfSeveral()
    {
        IReadOnlyList<VariantSpec> specs = VariantSpec.Of("1,2", ["1,3"], "f32, bf16,Q8");
        Assert.That(specs.Select(spec => spec.Name), Is.EqualTo(new[]
        {
            "tp 1", "tp 2", "tp 2, wire bf16", "tp 2, wire q8", "tp 2, partition 1,3", "tp 2, partition 1,3, wire bf16", "tp 2, partition 1,3, wire q8",
        }));
        Assert.That(specs[3].Flags, Is.EqualTo(new[] { "--tp", "2", "--partition", "even", "--wire", "q8" }));
        Assert.That(specs.Select(spec => spec.IsRounded), Is.EqualTo(new[] { false, false, true, true, false, true, true }));
    }

    [TestCase("0", "", "f32", "--degrees 0: '0' is no whole number")]
    [TestCase("1,x", "", "f32", "--degrees 1,x: 'x' is no whole number")]
    [TestCase("1", "1,-1", "f32", "--partition: '1,-1'")]
    [TestCase("1", "even", "f32", "--partition even: write one weight")]
    [TestCase("1", "", "f32,q4", "--wire f32,q4: 'q4' is not one of f32, bf16, q8.")]
    public void Variants_Wrong_NameTheFlag(string degrees, string partition, string wire, string fault) =>
        Assert.That(() => VariantSpec.Of(degrees, partition.Length == 0 ? [] : [partition], wire), Throws.TypeOf<InputFileException>().With.Message.StartsWith(fault));

    [TestCase("1,2", 2, 1)]
    [TestCase("1,2,4", 8, 2)]
    [TestCase("2", 8, 4)]
    [TestCase("1", 2, 0)] // nothing to compare
    [TestCase("1,2", 1, 0)] // one core is the fewest there are
    public void Baseline_WhereEveryGroupTakesAllCores_IsOneWorkersShareOfThem(string degrees, int cores, int threads)
    {
        VariantSpec? baseline = VariantSpec.Baseline(VariantSpec.Of(degrees, [], "f32"), cores);
        Assert.That(baseline?.Flags ?? [], Is.EqualTo(threads == 0 ? Array.Empty<string>() : ["--tp", "1", "--partition", "even", "--wire", "f32", "--threads", $"{threads}"]));
    }

    [TestCase(1, 0, 8, 8)]
    [TestCase(2, 0, 8, 8)]
    [TestCase(3, 0, 8, 6)]
    [TestCase(4, 1, 8, 4)]
    [TestCase(4, 0, 2, 2)] // four workers of a thread on two cores have two cores
    public void ThreadsOf_Group_IsWorkersByThreadsWithinTheCores(int degree, int threads, int cores, int expected) =>
        Assert.That(VariantSpec.ThreadsOf(degree, threads, cores), Is.EqualTo(expected));
}
