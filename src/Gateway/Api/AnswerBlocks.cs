using System.Text;
using TpServe.Gateway.Engine;

namespace TpServe.Gateway.Api;

/// <summary>What a block of an answer is.</summary>
internal enum BlockKind
{
    /// <summary>What the model thinks before it answers.</summary>
    Reasoning,

    /// <summary>The answer's text.</summary>
    Text,

    /// <summary>A call of a tool; its text is a JSON object's.</summary>
    Call,
}

/// <summary>A block of an answer, as far as it has come.</summary>
internal sealed class AnswerBlock(int index, BlockKind kind, int callIndex, string callId, string name)
{
    private readonly StringBuilder _text = new();
    private readonly List<ReportedToken> _tokens = [];

    /// <summary>Position among the blocks, from 0.</summary>
    public int Index => index;

    /// <summary>What it is.</summary>
    public BlockKind Kind => kind;

    /// <summary>Call: position among the calls, from 0; else -1.</summary>
    public int CallIndex => callIndex;

    /// <summary>Call: names it in the answer to it.</summary>
    public string CallId => callId;

    /// <summary>Call: the function.</summary>
    public string Name => name;

    /// <summary>Its text.</summary>
    public string Text => _text.ToString();

    /// <summary>Its tokens, where they are asked for.</summary>
    public IReadOnlyList<ReportedToken> Tokens => _tokens;

    /// <summary>The answer was ended in it, by its length or by an operator.</summary>
    public bool IsCut { get; internal set; }

    internal void Add(string text, IReadOnlyList<ReportedToken> tokens)
    {
        _text.Append(text);
        _tokens.AddRange(tokens);
    }
}

/// <summary>What happens to a block.</summary>
internal enum BlockStepKind
{
    /// <summary>It begins.</summary>
    Begin,

    /// <summary>Its text grows.</summary>
    Delta,

    /// <summary>It is whole.</summary>
    End,
}

/// <summary>The next thing that happens to a block.</summary>
/// <param name="Kind">What.</param>
/// <param name="Block">The block after it.</param>
/// <param name="Text">Delta: what its text grows by.</param>
/// <param name="Tokens">Delta: the tokens of that, where they are asked for.</param>
internal readonly record struct BlockStep(BlockStepKind Kind, AnswerBlock Block, string Text, IReadOnlyList<ReportedToken> Tokens);

/// <summary>The answer of a request with one output as blocks, one after the other: reasoning, text and calls, as /v1/responses and /v1/messages tell it.</summary>
/// <remarks>A function of the events alone, so that a stream that is resumed reads the same; an answer has at least one block.</remarks>
internal sealed class AnswerBlocks
{
    private readonly List<AnswerBlock> _blocks = [];
    private readonly List<ReportedToken> _early = []; // whose text is held back yet
    private AnswerBlock? _open;

    /// <summary>In the answer's order; the last may grow until the answer is finished.</summary>
    public IReadOnlyList<AnswerBlock> All => _blocks;

    /// <summary>The prompt's tokens that were found in the cache.</summary>
    public int CachedTokens { get; private set; }

    /// <summary>How the answer ended; null = not yet.</summary>
    public FinishedEvent? Finished { get; private set; }

    /// <summary>Reads the events to their end.</summary>
    public static async Task<AnswerBlocks> CollectAsync(IAsyncEnumerable<GenerationEvent> events, CancellationToken cancellation)
    {
        AnswerBlocks blocks = new();
        await foreach (GenerationEvent happened in events.WithCancellation(cancellation))
            blocks.Take(happened);
        return blocks;
    }

    /// <summary>What an event does to the blocks.</summary>
    public IReadOnlyList<BlockStep> Take(GenerationEvent happened)
    {
        List<BlockStep> steps = [];
        switch (happened)
        {
            case StartedEvent started:
                CachedTokens = started.CachedTokens;
                break;
            case DeltaEvent delta:
                Take(delta, steps);
                break;
            case FinishedEvent finished:
                if (_blocks.Count == 0)
                    Open(BlockKind.Text, steps);
                _blocks[^1].IsCut = finished.Reason is not (EndReason.Stop or EndReason.ToolCalls);
                Close(steps);
                Finished = finished;
                break;
        }
        return steps;
    }

    private void Take(DeltaEvent delta, List<BlockStep> steps)
    {
        if (delta.Reasoning.Length > 0)
            Grow(Open(BlockKind.Reasoning, steps), delta.Reasoning, [], steps);
        else if (delta.ToolCalls.Count == 0)
            _early.AddRange(delta.Tokens);
        if (delta.Text.Length > 0)
        {
            ReportedToken[] tokens = [.. _early];
            _early.Clear();
            Grow(Open(BlockKind.Text, steps), delta.Text, tokens, steps);
        }
        foreach (ToolCallPiece piece in delta.ToolCalls)
        {
            AnswerBlock call = _open is { } open && open.CallIndex == piece.Index ? open : Begin(new AnswerBlock(_blocks.Count, BlockKind.Call, piece.Index, piece.Id ?? "", piece.Name ?? ""), steps);
            if (piece.Arguments.Length > 0)
                Grow(call, piece.Arguments, [], steps);
        }
    }

    private AnswerBlock Open(BlockKind kind, List<BlockStep> steps) =>
        _open is { } open && open.Kind == kind ? open : Begin(new AnswerBlock(_blocks.Count, kind, -1, "", ""), steps);

    private AnswerBlock Begin(AnswerBlock block, List<BlockStep> steps)
    {
        Close(steps);
        _blocks.Add(block);
        _open = block;
        steps.Add(new BlockStep(BlockStepKind.Begin, block, "", []));
        return block;
    }

    private void Close(List<BlockStep> steps)
    {
        if (_open is { } open)
            steps.Add(new BlockStep(BlockStepKind.End, open, "", []));
        _open = null;
    }

    private static void Grow(AnswerBlock block, string text, IReadOnlyList<ReportedToken> tokens, List<BlockStep> steps)
    {
        block.Add(text, tokens);
        steps.Add(new BlockStep(BlockStepKind.Delta, block, text, tokens));
    }
}
