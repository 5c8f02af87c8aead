using System.Buffers;
using System.Text;

namespace TpServe.Tokenization.Patterns;

/// <summary>Runs a compiled pattern over one text, code point by code point, with an explicit stack and a bounded number of steps.</summary>
/// <remarks>
/// Numerics steps are counted over all matches of the text, so the bound is linear in its length whatever the pattern is.
/// Errors   <see cref="TokenizerException"/> where steps or alternatives run out.
/// </remarks>
internal ref struct PatternMatcher
{
    private const long FreeSteps = 4_000_000;
    private const long StepsPerCharacter = 500;
    private const int MaxFrames = 1 << 24;

    private readonly Pattern _pattern;
    private readonly ReadOnlySpan<PatternInstruction> _code;
    private readonly ReadOnlySpan<char> _text;
    private readonly int[] _slots;
    private Frame[] _frames;
    private int _count;
    private long _steps;

    public PatternMatcher(Pattern pattern, ReadOnlySpan<char> text)
    {
        _pattern = pattern;
        _code = pattern.Code;
        _text = text;
        _slots = pattern.Slots == 0 ? [] : new int[pattern.Slots];
        _frames = ArrayPool<Frame>.Shared.Rent(64);
        _steps = FreeSteps + (StepsPerCharacter * text.Length);
    }

    private enum FrameKind
    {
        /// <summary>Go on at Step from Position.</summary>
        Resume,

        /// <summary>A greedy loop may give back code points down to Extra.</summary>
        GiveBack,

        /// <summary>A lazy loop at Step may take up to Extra more.</summary>
        TakeMore,

        /// <summary>Slot Step held Position.</summary>
        RestoreSlot,
    }

    private record struct Frame(FrameKind Kind, int Step, int Position, int Extra);

    /// <summary>Returns the stack to its pool.</summary>
    public void Dispose()
    {
        ArrayPool<Frame>.Shared.Return(_frames);
        _frames = [];
    }

    /// <summary>The end of the match that starts at start, or -1.</summary>
    public int MatchAt(int start)
    {
        _count = 0;
        return Run(0, start);
    }

    // Backtracks only within its own frames: what lies below belongs to the caller of a sub-pattern.
    private int Run(int step, int position)
    {
        int floor = _count;
        while (true)
        {
            if (--_steps < 0)
                throw new TokenizerException($"Pattern '{_pattern.Shortened}' needs more than {FreeSteps + (StepsPerCharacter * _text.Length)} steps on {_text.Length} characters.");
            PatternInstruction now = _code[step];
            switch (now.Operation)
            {
                case PatternOperation.Set:
                    if (position < _text.Length && now.Set!.Contains(Read(position, out int length)))
                    {
                        position += length;
                        step++;
                        continue;
                    }
                    break;
                case PatternOperation.SetLoop:
                    if (Loop(now, step, ref position))
                    {
                        step++;
                        continue;
                    }
                    break;
                case PatternOperation.Split:
                    if (now.Set is not null && (position >= _text.Length || !now.Set.Contains(Read(position, out _))))
                    {
                        step = now.B;
                        continue;
                    }
                    Push(new(FrameKind.Resume, now.B, position, 0));
                    step = now.A;
                    continue;
                case PatternOperation.Jump:
                    step = now.A;
                    continue;
                case PatternOperation.Mark:
                    Push(new(FrameKind.RestoreSlot, now.A, _slots[now.A], 0));
                    _slots[now.A] = position;
                    step++;
                    continue;
                case PatternOperation.LeaveIfUnmoved:
                    step = _slots[now.A] == position ? now.B : step + 1;
                    continue;
                case PatternOperation.LookAhead:
                case PatternOperation.LookBehind:
                    if (Looks(now, step, position))
                    {
                        step = now.A;
                        continue;
                    }
                    break;
                case PatternOperation.Atomic:
                    int end = Run(step + 1, position);
                    if (end >= 0)
                    {
                        position = end;
                        step = now.A;
                        continue;
                    }
                    break;
                case PatternOperation.Anchor:
                    if (Holds((AnchorKind)now.A, position))
                    {
                        step++;
                        continue;
                    }
                    break;
                case PatternOperation.Accept:
                    DropTo(floor);
                    return position;
            }
            if (!Backtrack(floor, ref step, ref position))
                return -1;
        }
    }

    private bool Loop(in PatternInstruction loop, int step, ref int position)
    {
        int taken = 0;
        int wanted = loop.C == (int)RepeatKind.Lazy ? loop.A : loop.B;
        int fewest = position;
        while (taken < wanted && position < _text.Length && loop.Set!.Contains(Read(position, out int length)))
        {
            position += length;
            if (++taken == loop.A)
                fewest = position;
        }
        _steps -= taken / 4;
        if (taken < loop.A)
            return false;
        if (loop.C == (int)RepeatKind.Greedy && position > fewest)
            Push(new(FrameKind.GiveBack, step + 1, position, fewest));
        if (loop.C == (int)RepeatKind.Lazy && loop.B > loop.A)
            Push(new(FrameKind.TakeMore, step, position, loop.B == int.MaxValue ? int.MaxValue : loop.B - loop.A));
        return true;
    }

    private bool Looks(in PatternInstruction look, int step, int position)
    {
        int from = position;
        for (int i = 0; i < look.C && from >= 0; i++)
            from = from == 0 ? -1 : Before(from);
        bool matched = from >= 0 && Run(step + 1, from) >= 0;
        return matched != (look.B == 1);
    }

    private bool Backtrack(int floor, ref int step, ref int position)
    {
        while (_count > floor)
        {
            ref Frame top = ref _frames[_count - 1];
            switch (top.Kind)
            {
                case FrameKind.Resume:
                    (step, position) = (top.Step, top.Position);
                    _count--;
                    return true;
                case FrameKind.GiveBack:
                    position = Before(top.Position);
                    step = top.Step;
                    if (position > top.Extra)
                        top.Position = position;
                    else
                        _count--;
                    return true;
                case FrameKind.TakeMore:
                    if (top.Extra > 0 && top.Position < _text.Length && _code[top.Step].Set!.Contains(Read(top.Position, out int length)))
                    {
                        position = top.Position += length;
                        top.Extra--;
                        step = top.Step + 1;
                        return true;
                    }
                    _count--;
                    break;
                case FrameKind.RestoreSlot:
                    _slots[top.Step] = top.Position;
                    _count--;
                    break;
            }
        }
        return false;
    }

    // A sub-pattern's alternatives are forgotten; its slots are its own, so they need no restoring.
    private void DropTo(int floor) => _count = floor;

    private readonly bool Holds(AnchorKind kind, int position) => kind switch
    {
        AnchorKind.LineStart => position == 0 || (position < _text.Length && _text[position - 1] == '\n'),
        AnchorKind.LineEnd => position == _text.Length || _text[position] == '\n',
        AnchorKind.TextStart => position == 0,
        AnchorKind.TextEnd => position == _text.Length,
        AnchorKind.TextEndOrLastNewline => position == _text.Length || (position == _text.Length - 1 && _text[position] == '\n'),
        AnchorKind.WordBoundary => IsWord(position) != IsWordBefore(position),
        AnchorKind.NotWordBoundary => IsWord(position) == IsWordBefore(position),
        _ => throw new InvalidOperationException($"{kind} has no meaning."),
    };

    private readonly bool IsWord(int position) => position < _text.Length && Pattern.Word.Contains(Read(position, out _));

    private readonly bool IsWordBefore(int position) => position > 0 && IsWord(Before(position));

    private readonly int Before(int position) =>
        position >= 2 && char.IsLowSurrogate(_text[position - 1]) && char.IsHighSurrogate(_text[position - 2]) ? position - 2 : position - 1;

    private readonly int Read(int position, out int length)
    {
        char unit = _text[position];
        if (char.IsHighSurrogate(unit) && position + 1 < _text.Length && char.IsLowSurrogate(_text[position + 1]))
        {
            length = 2;
            return char.ConvertToUtf32(unit, _text[position + 1]);
        }
        length = 1;
        return unit;
    }

    private void Push(Frame frame)
    {
        if (_count == _frames.Length)
        {
            if (_count >= MaxFrames)
                throw new TokenizerException($"Pattern '{_pattern.Shortened}' keeps more than {MaxFrames} alternatives open on {_text.Length} characters.");
            Frame[] larger = ArrayPool<Frame>.Shared.Rent(_count * 2);
            _frames.AsSpan(0, _count).CopyTo(larger);
            ArrayPool<Frame>.Shared.Return(_frames);
            _frames = larger;
        }
        _frames[_count++] = frame;
    }
}
