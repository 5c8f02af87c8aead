using TpServe.Tokenization.Unicode;

namespace TpServe.Tokenization.Patterns;

/// <summary>One step of a compiled pattern. A, B and C mean what the operation says.</summary>
internal readonly record struct PatternInstruction(PatternOperation Operation, int A = 0, int B = 0, int C = 0, CodePointSet? Set = null);

/// <summary>What a step does.</summary>
internal enum PatternOperation
{
    /// <summary>Consumes one code point of the set.</summary>
    Set,

    /// <summary>Consumes A to B code points of the set; C is the RepeatKind.</summary>
    SetLoop,

    /// <summary>Tries A first, B on failure; only B where there is a set and it lacks the next code point.</summary>
    Split,

    /// <summary>Goes to A.</summary>
    Jump,

    /// <summary>Remembers the position in slot A.</summary>
    Mark,

    /// <summary>Goes to B where the position still is the one in slot A.</summary>
    LeaveIfUnmoved,

    /// <summary>Looks ahead with the code that follows, up to its Accept; goes on at A. B = 1: must not match.</summary>
    LookAhead,

    /// <summary>As LookAhead, from C code points before.</summary>
    LookBehind,

    /// <summary>Matches the code that follows, up to its Accept, and forgets its alternatives; goes on at A.</summary>
    Atomic,

    /// <summary>Checks the AnchorKind A.</summary>
    Anchor,

    /// <summary>The end of the pattern, or of a sub-pattern.</summary>
    Accept,
}
