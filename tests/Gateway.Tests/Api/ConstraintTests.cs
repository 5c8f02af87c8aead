using System.Net;
using System.Text.Json;
using NUnit.Framework;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Scheduling;
using TpServe.Gateway.Tests.Engine;
using TpServe.Gateway.Workers;
using TpServe.Grammar;
using TpServe.Grammar.Masks;
using TpServe.Protos.V1;

namespace TpServe.Gateway.Tests.Api;

/// <summary>Outputs that must have a form, over both APIs: the fake group says what it would, or else the first token that it may.</summary>
public sealed class ConstraintTests
{
    private const string Schema = """{"type":"object","properties":{"a":{"enum":[1,2]}},"required":["a"],"additionalProperties":false}""";

    [TestCase("\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"name\":\"x\",\"strict\":true,\"schema\":SCHEMA}}", "{\"a\": 1}")]
    [TestCase("\"structured_outputs\":{\"json\":SCHEMA}", "{\"a\": 1}")]
    [TestCase("\"guided_json\":SCHEMA", "{\"a\": 1}")]
    [TestCase("\"constraint\":{\"regex\":\"[0-9]{3}\"}", "000")]
    [TestCase("\"structured_outputs\":{\"choice\":[\"yes\",\"no\"]}", "no")]
    [TestCase("\"guided_choice\":[\"yes\",\"no\"],\"response_format\":{\"type\":\"text\"}", "no")]
    [TestCase("\"guided_grammar\":\"root ::= \\\"x\\\" [1-3]\"", "x1")]
    public async Task Output_WithAConstraint_HasItsFormAndStopsWhereNothingCanFollow(string field, string text)
    {
        await using ApiFixture api = await ApiFixture.StartAsync("Hello!");
        foreach ((string path, string rest) in new[] { ("/v1/completions", "\"prompt\":\"a\""), ("/v1/chat/completions", "\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]") })
        {
            (HttpStatusCode status, JsonElement body) = await api.PostAsync(path, $"{{{rest},{field.Replace("SCHEMA", Schema)},\"n\":2,\"max_tokens\":40}}");
            Assert.That(status, Is.EqualTo(HttpStatusCode.OK), body.GetRawText());
            foreach (JsonElement choice in body.GetProperty("choices").EnumerateArray())
            {
                string? output = choice.TryGetProperty("text", out JsonElement plain) ? plain.GetString() : choice.GetProperty("message").GetProperty("content").GetString();
                Assert.That((output, choice.GetProperty("finish_reason").GetString()), Is.EqualTo((text, "stop")), path);
            }
        }
    }

    [Test]
    public void Constraint_ForcedTokens_AreTheSameHoweverManyAreTakenAtOnce()
    {
        OutputGrammar grammar = OutputGrammar.FromRegex("(abcdefghij){40}[xy](hello|help)!");
        TokenTrie trie = TokenTrie.Of([.. Enumerable.Range(0, 256).Select(value => new[] { (byte)value }), .. new[] { "ab", "abc", "cde", "efgh", "ijab", "jabcd", "hel", "help", "j" }.Select(System.Text.Encoding.UTF8.GetBytes), []]);
        int end = trie.VocabularySize - 1;
        Assert.That(Run(1), Is.EqualTo(Run(int.MaxValue)));
        Assert.That(Run(7), Is.EqualTo(Run(int.MaxValue)));

        // Follows what is forced in steps of at most so many tokens, and takes the highest token that is allowed elsewhere.
        List<int> Run(int most)
        {
            OutputConstraint constraint = new(grammar.NewMatcher(trie), new HashSet<int> { end }, trie.VocabularySize, 0);
            List<int> tokens = [];
            while (!constraint.IsComplete)
            {
                int count = Math.Min(most, constraint.Forced.Length);
                List<int> step = [.. constraint.Forced[..count]];
                step.Add(Highest(constraint.AllowedAfter(count)));
                foreach (int token in step)
                {
                    Assert.That(Bit(constraint.Allowed, token), Is.True, $"token {token} after {tokens.Count}");
                    constraint.Take(token);
                    tokens.Add(token);
                    Assert.That(constraint.Fault, Is.Null);
                    if (constraint.IsComplete)
                        break;
                }
            }
            return tokens;
        }

        static int Highest(Google.Protobuf.ByteString mask) => Enumerable.Range(0, 8 * mask.Length).Last(token => Bit(mask, token));

        static bool Bit(Google.Protobuf.ByteString mask, int token) => token / 8 < mask.Length && (mask[token / 8] >> (token & 7) & 1) != 0;
    }

    [Test]
    public async Task Output_ThatRunsOutOfTokens_EndsByLength()
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (_, JsonElement body) = await api.PostAsync("/v1/completions", """{"prompt":"a","constraint":{"regex":"[0-9]{30}"},"max_tokens":4}""");
        JsonElement choice = body.GetProperty("choices")[0];
        Assert.That((choice.GetProperty("text").GetString(), choice.GetProperty("finish_reason").GetString()), Is.EqualTo(("0000", "length")));
    }

    [Test]
    public async Task Grpc_Constraint_HoldsAndGoesOnAfterALoss()
    {
        FakeWorkerGroup group = new() { NextToken = FakeWorkerGroup.Says("12"), Restarts = true };
        await using ApiFixture api = await ApiFixture.StartAsync(group: group);
        int steps = 0;
        group.Dies = _ => ++steps == 3 ? LossCause.External : null;
        GenerateResponse response = await api.Inference.GenerateAsync(new GenerateRequest { Text = "a", Constraint = new Constraint { Regex = "[0-9]{6}" } });
        Assert.That((response.Outputs[0].Text, response.Outputs[0].Finished.Reason), Is.EqualTo(("120000", FinishReason.Stop)));
    }

    // Each of 30 rules calls the next one twice, and all may be empty: 2³⁰ readings of nothing.
    private static string Ambiguous(string root) =>
        string.Join('\n', Enumerable.Range(0, 30).Select(i => $"r{i} ::= r{i + 1} r{i + 1}")) + $"\nr30 ::= \"a\" | \"\"\nroot ::= {root}";

    [TestCase("r0", HttpStatusCode.BadRequest, "constraint.grammar", "constraint_too_large")]
    [TestCase("\"x\" r0", HttpStatusCode.BadRequest, "constraint.grammar", "constraint_too_large")]
    [TestCase("[a-z] r0", HttpStatusCode.BadRequest, "constraint.grammar", "constraint_too_large")]
    [TestCase("[a-z] [a-z] r0", HttpStatusCode.BadRequest, "constraint", "constraint_stuck")]
    [TestCase("\"hello\" [a-z] r0", HttpStatusCode.BadRequest, "constraint", "constraint_stuck")]
    public async Task Constraint_OfTooManyReadings_EndsItsOwnRequestAndNoOther(string root, HttpStatusCode expected, string param, string code)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (HttpStatusCode status, JsonElement body) = await api.PostAsync("/v1/completions", $"{{\"prompt\":\"a\",\"guided_grammar\":{JsonSerializer.Serialize(Ambiguous(root))},\"max_tokens\":20}}");
        Assert.That(status, Is.EqualTo(expected), body.GetRawText());
        JsonElement error = body.GetProperty("error");
        Assert.That((error.GetProperty("param").GetString(), error.GetProperty("code").GetString()), Is.EqualTo((param, code)), body.GetRawText());
        Assert.That((await api.PostAsync("/v1/completions", """{"prompt":"a","max_tokens":2}""")).Status, Is.EqualTo(HttpStatusCode.OK));
    }

    [TestCase("\"response_format\":{\"type\":\"xml\"}", "response_format.type", "not implemented")]
    [TestCase("\"response_format\":7", "response_format", "object with a type")]
    [TestCase("\"response_format\":{\"type\":\"json_schema\"}", "response_format.json_schema", "must be an object")]
    [TestCase("\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{\"schema\":{\"type\":\"objekt\"}}}", "constraint.json_schema", "objekt")]
    [TestCase("\"guided_json\":{\"not\":{}}", "constraint.json_schema", "not served")]
    [TestCase("\"guided_json\":\"{\"", "constraint.json_schema", "cannot be used")]
    [TestCase("\"guided_regex\":\"(\"", "constraint.regex", "cannot be used")]
    [TestCase("\"guided_regex\":5", "guided_regex", "must be a string")]
    [TestCase("\"guided_choice\":[]", "constraint.choice", "1 to 256")]
    [TestCase("\"guided_grammar\":\"root ::= other\"", "constraint.grammar", "other")]
    [TestCase("\"structured_outputs\":{\"structural_tag\":\"x\"}", "structured_outputs.structural_tag", "not implemented")]
    [TestCase("\"structured_outputs\":{\"regex\":\"a\",\"choice\":[\"a\"]}", "structured_outputs.choice", "more than once")]
    [TestCase("\"guided_regex\":\"a\",\"guided_choice\":[\"a\"]", "guided_choice", "one of them")]
    [TestCase("\"guided_regex\":\"a\",\"allowed_token_ids\":[5]", "allowed_token_ids", "exclude")]
    public async Task Constraint_BadOrUnserved_IsRefusedByName(string field, string param, string message)
    {
        await using ApiFixture api = await ApiFixture.StartAsync();
        (HttpStatusCode status, JsonElement body) = await api.PostAsync("/v1/completions", $"{{\"prompt\":\"a\",{field}}}");
        JsonElement error = body.GetProperty("error");
        Assert.That((status, error.GetProperty("param").GetString()), Is.EqualTo((HttpStatusCode.BadRequest, param)), error.GetRawText());
        Assert.That(error.GetProperty("message").GetString(), Does.Contain(message));
        (status, _) = await api.PostAsync("/v1/completions", """{"prompt":"a","max_tokens":1}""");
        Assert.That(status, Is.EqualTo(HttpStatusCode.OK));
    }

    [Test]
    public void Mask_IsWhatTheGrammarAllowsAndTheEndWhereItMayEnd()
    {
        TokenTrie vocabulary = TokenTrie.Of(TestModel.Tokenizer);
        OutputConstraint constraint = new(OutputGrammar.FromRegex("ab?c*").NewMatcher(vocabulary), new HashSet<int> { TestModel.End, 'c' }, TestModel.Vocabulary, minTokens: 0);
        Assert.That(Allowed(), Is.EqualTo(new[] { (int)'a' }));
        constraint.Take('a');
        Assert.That(Allowed(), Is.EqualTo(new[] { 'b', 'c', TestModel.End }), "an end token may come where the text is whole");
        constraint.Take('b');
        Assert.That(Allowed(), Is.EqualTo(new[] { 'c', TestModel.End }));
        Assert.That((constraint.IsComplete, constraint.Fault), Is.EqualTo((true, (string?)null)), "what else could come ends the output");

        OutputConstraint late = new(OutputGrammar.FromRegex("a*").NewMatcher(vocabulary), new HashSet<int> { TestModel.End }, TestModel.Vocabulary, minTokens: 1);
        constraint = late;
        Assert.That(Allowed(), Is.EqualTo(new[] { (int)'a' }), "min_tokens");
        late.Take('a');
        Assert.That(Allowed(), Is.EqualTo(new[] { 'a', TestModel.End }));
        late.Take('b');
        Assert.That(late.Fault, Does.Contain("98"));

        int[] Allowed() => [.. Enumerable.Range(0, 8 * constraint.Allowed.Length).Where(id => (constraint.Allowed[id >> 3] >> (id & 7) & 1) != 0)];
    }

    [Test]
    public void Scheduler_Constrained_LetsTheMaskFollowItsTokenAndEndsWhenComplete()
    {
        TokenTrie vocabulary = TokenTrie.Of(TestModel.Tokenizer);
        OutputGrammar grammar = OutputGrammar.FromRegex("[0-9]{2}");
        Scheduler scheduler = new(new SchedulerSettings(8, 4, 4, 8));
        scheduler.StartLife(1, 16, 4);
        SequenceSpec spec = new()
        {
            Prompt = [1, 2],
            MaxNewTokens = 9,
            Sampling = new(),
            Constraint = () => new OutputConstraint(grammar.NewMatcher(vocabulary), new HashSet<int>(), TestModel.Vocabulary, 0),
        };
        Sequence sequence = new(spec);
        scheduler.Add(sequence);
        Protos.Worker.StepPlan first = scheduler.Next()!;
        Assert.That(first.Sequences[0].Allowed, Is.Not.Empty);
        Protos.Worker.StepPlan second = scheduler.Next()!;
        Assert.That((second.Sequences[0].Allowed.IsEmpty, second.Sequences[0].AllowedFollows), Is.EqualTo((true, true)), "the mask depends on the token that is on its way");
        Assert.That(Answer(first, '4').End, Is.EqualTo(SequenceEnd.None));
        Assert.That(scheduler.FollowingMasks()!.Masks.Single().Allowed, Is.EqualTo(sequence.Constraint!.Allowed));
        Assert.That(Answer(second, '2').End, Is.EqualTo(SequenceEnd.Complete));
        Assert.That((sequence.State, scheduler.UsedBlocks), Is.EqualTo((SequenceState.Finished, 0)));

        SequenceProgress Answer(Protos.Worker.StepPlan plan, int token) => scheduler.Apply(new Protos.Worker.StepResult
        {
            Epoch = 1,
            Step = plan.Step,
            Sequences = { new Protos.Worker.SequenceResult { SequenceId = plan.Sequences[0].SequenceId, TokenIds = { token } } },
        })[0];
    }
}
