using System.Text;
using TpServe.Gateway.Engine;

namespace TpServe.Gateway.Api;

/// <summary>All events of a request in one piece.</summary>
public sealed class GenerationResult
{
    /// <summary>Empty, for a request of so many outputs.</summary>
    public GenerationResult(int outputs) => Outputs = [.. Enumerable.Range(0, outputs).Select(_ => new OutputResult())];

    /// <summary>By index.</summary>
    public IReadOnlyList<OutputResult> Outputs { get; }

    /// <summary>The prompt's tokens, where prompt logprobs are asked for.</summary>
    public IReadOnlyList<ReportedToken> PromptTokens { get; private set; } = [];

    /// <summary>What the request took.</summary>
    public RequestTotals Totals { get; private set; } = new(0, 0, 0, default, default, default, default);

    /// <summary>Reads the events to their end.</summary>
    public static async Task<GenerationResult> CollectAsync(IAsyncEnumerable<GenerationEvent> events, int outputs, CancellationToken cancellation)
    {
        GenerationResult result = new(outputs);
        await foreach (GenerationEvent happened in events.WithCancellation(cancellation))
            result.Take(happened);
        return result;
    }

    /// <summary>Adds the next event.</summary>
    public void Take(GenerationEvent happened)
    {
        switch (happened)
        {
            case DeltaEvent delta:
                Outputs[delta.OutputIndex].Take(delta);
                if (delta.PromptTokens.Count > 0)
                    PromptTokens = delta.PromptTokens;
                break;
            case FinishedEvent finished:
                Outputs[finished.OutputIndex].Finished = finished;
                Totals = finished.Totals ?? Totals;
                break;
        }
    }

    /// <summary>One output in one piece.</summary>
    public sealed class OutputResult
    {
        private readonly StringBuilder _text = new();
        private readonly StringBuilder _reasoning = new();
        private readonly List<ReportedToken> _tokens = [];
        private readonly List<ToolCallPiece> _calls = [];

        /// <summary>Its text.</summary>
        public string Text => _text.ToString();

        /// <summary>What the model thought, where it is told apart.</summary>
        public string Reasoning => _reasoning.ToString();

        /// <summary>The calls that it makes, whole, by index.</summary>
        public IReadOnlyList<ToolCallPiece> ToolCalls => _calls;

        /// <summary>Its tokens, where they are asked for.</summary>
        public IReadOnlyList<ReportedToken> Tokens => _tokens;

        /// <summary>How it ended.</summary>
        public FinishedEvent Finished { get; internal set; } = new(0, EndReason.Aborted, null, null, 0, null);

        internal void Take(DeltaEvent delta)
        {
            _text.Append(delta.Text);
            _reasoning.Append(delta.Reasoning);
            _tokens.AddRange(delta.Tokens);
            foreach (ToolCallPiece piece in delta.ToolCalls)
                if (piece.Index < _calls.Count)
                    _calls[piece.Index] = _calls[piece.Index] with { Arguments = _calls[piece.Index].Arguments + piece.Arguments };
                else
                    _calls.Add(piece);
        }
    }
}
