using System.Text;
using TpServe.ChatTemplates.Evaluation;

namespace TpServe.ChatTemplates.Values;

/// <summary>Builds text out of pieces, keeping each piece's origin and charging the rendering for what it copies.</summary>
internal sealed class StringAssembler(RenderState state)
{
    private readonly StringBuilder _text = new();
    private readonly List<int> _flips = [];
    private bool _startsAsData;
    private bool _endsAsData;

    public int Length => _text.Length;

    public StringAssembler Append(StringValue value) => Append(value, 0, value.Text.Length);

    /// <summary>Appends a piece by UTF-16 offset and length.</summary>
    public StringAssembler Append(StringValue value, int start, int length)
    {
        if (length == 0)
            return this;
        int offset = Reserve(length);
        _text.Append(value.Text, start, length);
        Turn(offset, value.IsDataAt(start));
        foreach (int flip in value.Flips)
            if (flip > start && flip < start + length)
                Turn(offset + flip - start, !_endsAsData);
        return this;
    }

    /// <summary>Appends text of one origin.</summary>
    public StringAssembler Append(ReadOnlySpan<char> text, bool isData)
    {
        if (text.IsEmpty)
            return this;
        int offset = Reserve(text.Length);
        _text.Append(text);
        Turn(offset, isData);
        return this;
    }

    /// <summary>Appends one piece many times, its total checked before anything is copied.</summary>
    public StringAssembler AppendRepeated(StringValue value, long count)
    {
        if (count <= 0 || value.Text.Length == 0)
            return this;
        state.CheckText(_text.Length + value.Text.Length * (System.Numerics.BigInteger)count);
        if (value.Flips.Length == 0 && value.Text.Length == 1)
        {
            int offset = Reserve((int)count);
            _text.Append(value.Text[0], (int)count);
            Turn(offset, value.StartsAsData);
            return this;
        }
        for (long i = 0; i < count; i++)
        {
            state.Step();
            Append(value);
        }
        return this;
    }

    public StringValue ToValue() => StringValue.WithRuns(_text.ToString(), _startsAsData, [.. _flips]);

    private int Reserve(int length)
    {
        int offset = _text.Length;
        state.ChargeText((long)offset + length, length);
        return offset;
    }

    private void Turn(int offset, bool isData)
    {
        if (offset == 0)
            _startsAsData = isData;
        else if (isData != _endsAsData)
            _flips.Add(offset);
        _endsAsData = isData;
    }
}
