using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics;
using TpServe.Kernels;

namespace TpServe.Model.Sampling;

/// <summary>What changes logits before temperature and filters (penalties, bias, ids allowed or suppressed), as edits of single tokens.</summary>
/// <remarks>
/// Numerics float32, one operation after the other, as transformers' processors.
/// Source   repetition: Keskar et al. 2019, §4.1, over prompt and output; presence and frequency: the OpenAI API, over the output.
/// </remarks>
internal sealed class LogitAdjustments
{
    private readonly Dictionary<int, LogitEdit> _edits = [];
    private readonly Dictionary<int, int> _counts = [];
    private readonly List<(int Token, float Logit)> _edited = [];
    private LogitEdit _unused;

    /// <summary>The row's edits, one a token; ids outside the vocabulary have none. Valid until the next call.</summary>
    public Dictionary<int, LogitEdit>.ValueCollection Of(SampleRow row, int vocab)
    {
        SamplingSettings settings = row.Settings;
        ReadOnlySpan<int> tokens = row.Tokens.Span;
        _edits.Clear();
        // Lists by index: an enumerator behind an interface is garbage of every step.
        for (int i = 0; i < settings.AllowedTokenIds.Count; i++)
            if (settings.AllowedTokenIds[i] is int token && (uint)token < (uint)vocab)
                _edits.TryAdd(token, new LogitEdit { TokenId = token });
        bool restricts = Restricts(row);

        if (settings.RepetitionPenalty != 1f)
        {
            Count(tokens, vocab);
            foreach (int token in _counts.Keys)
                Edit(token, restricts).Kind |= LogitEdit.Repeats;
        }
        if (settings.PresencePenalty != 0f || settings.FrequencyPenalty != 0f)
        {
            Count(tokens[row.PromptTokens..], vocab);
            foreach ((int token, int count) in _counts)
                Edit(token, restricts).Subtract = (float)((double)settings.FrequencyPenalty * count + settings.PresencePenalty);
        }
        for (int i = 0; i < settings.LogitBias.Count; i++)
            if (settings.LogitBias[i] is (int token, float bias) && (uint)token < (uint)vocab)
                Edit(token, restricts).Add += bias;
        if (row.Generated < settings.MinTokens && !(restricts && OnlyEndsAllowed(settings))) // suppressing all that is allowed would leave nothing to choose
            for (int i = 0; i < settings.EndTokenIds.Count; i++)
                if (settings.EndTokenIds[i] is int token && (uint)token < (uint)vocab)
                    Edit(token, restricts).Kind |= LogitEdit.Excludes;
        return _edits.Values;
    }

    /// <summary>True where ids without an edit are excluded.</summary>
    public static bool Restricts(SampleRow row) => row.Settings.AllowedTokenIds.Count > 0;

    /// <summary>Changes the logits of a whole row in place.</summary>
    public void Apply(Span<float> logits, SampleRow row)
    {
        _edited.Clear();
        foreach (LogitEdit edit in Of(row, logits.Length))
            _edited.Add((edit.TokenId, edit.Of(logits[edit.TokenId], row.Settings.RepetitionPenalty)));
        if (Restricts(row))
            logits.Fill(float.NegativeInfinity);
        foreach ((int token, float logit) in _edited)
            logits[token] = logit;
        if (row.Only is { } only)
            KeepOnly(logits, only);
        else if (!row.Allowed.IsEmpty)
            Mask(logits, row.Allowed.Span);
    }

    private static void KeepOnly(Span<float> logits, int token)
    {
        float kept = logits[token];
        logits.Fill(float.NegativeInfinity);
        logits[token] = kept;
    }

    /// <summary>Excludes the tokens whose bit is not set, eight at a time: a lane takes its logit where its own bit of the byte is set.</summary>
    private static void Mask(Span<float> logits, ReadOnlySpan<byte> allowed)
    {
        Vector256<int> lanes = Vector256.Create(1, 2, 4, 8, 16, 32, 64, 128);
        Vector256<float> excluded = Vector256.Create(float.NegativeInfinity);
        int whole = Math.Min(logits.Length / 8, allowed.Length);
        ref float first = ref MemoryMarshal.GetReference(logits);
        for (int i = 0; i < whole; i++)
        {
            int bits = allowed[i];
            if (bits == 0xFF)
                continue;
            ref float eight = ref Unsafe.Add(ref first, 8 * i);
            Vector256<float> taken = Vector256.Equals(Vector256.Create(bits) & lanes, lanes).AsSingle();
            Vector256.ConditionalSelect(taken, Vector256.LoadUnsafe(ref eight), excluded).StoreUnsafe(ref eight);
        }
        for (int token = 8 * whole; token < logits.Length; token++)
            if (token / 8 >= allowed.Length || (allowed[token / 8] >> (token & 7) & 1) == 0)
                logits[token] = float.NegativeInfinity;
    }

    private static bool OnlyEndsAllowed(SamplingSettings settings)
    {
        for (int i = 0; i < settings.AllowedTokenIds.Count; i++)
            if (!IsEnd(settings, settings.AllowedTokenIds[i]))
                return false;
        return true;
    }

    private static bool IsEnd(SamplingSettings settings, int token)
    {
        for (int i = 0; i < settings.EndTokenIds.Count; i++)
            if (settings.EndTokenIds[i] == token)
                return true;
        return false;
    }

    /// <summary>The edit of a token; one that counts for nothing where the token is not allowed anyway.</summary>
    private ref LogitEdit Edit(int token, bool restricts)
    {
        if (restricts && !_edits.ContainsKey(token))
            return ref _unused;
        ref LogitEdit edit = ref CollectionsMarshal.GetValueRefOrAddDefault(_edits, token, out _);
        edit.TokenId = token;
        return ref edit;
    }

    private void Count(ReadOnlySpan<int> tokens, int vocab)
    {
        _counts.Clear();
        foreach (int token in tokens)
            if ((uint)token < (uint)vocab)
                CollectionsMarshal.GetValueRefOrAddDefault(_counts, token, out _)++;
    }
}
