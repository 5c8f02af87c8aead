using System.Numerics;
using TpServe.Grammar.Automata;

namespace TpServe.Grammar.Schemas;

/// <summary>Numbers within bounds as an automaton over their digits: exact for bounds of any size, with no arithmetic on floating point.</summary>
/// <remarks>
/// The text is read digit by digit beside the digits of the bounds, and beside the remainder by the divisor. Numbers are written without an exponent where
/// anything is asked of them, zero without a sign.
/// </remarks>
internal static class NumberAutomaton
{
    private const int FreeDigits = 20;
    private const int FreeFraction = 16;
    private const int LargestDivisor = 10_000;

    private static readonly int[] Symbols = [.. "-.0123456789".Select(c => (int)c)];

    /// <summary>Any number, or any integer: bounded digits, and an exponent that no parser finds too large.</summary>
    public static Dfa Free(bool integer, CompileBudget budget)
    {
        string whole = $"-?(0|[1-9][0-9]{{0,{FreeDigits - 1}}})";
        string pattern = integer ? $"0|-?[1-9][0-9]{{0,{FreeDigits - 1}}}" : whole + $"(\\.[0-9]{{1,{FreeFraction}}})?([eE][+-]?[0-9]{{1,2}})?";
        return Regexes.Pattern.Whole(pattern, budget);
    }

    /// <summary>Numbers between two bounds that are multiples of all the divisors.</summary>
    public static Dfa Within(bool integer, NumberBound? lower, NumberBound? upper, IReadOnlyList<JsonNumber> divisors, CompileBudget budget)
    {
        // 1. All divisors as one whole number at one scale.
        int scale = divisors.Select(divisor => Math.Max(0, -divisor.Exponent)).DefaultIfEmpty(0).Max();
        BigInteger modulus = 1;
        foreach (JsonNumber divisor in divisors)
        {
            BigInteger digits = divisor.Scaled(-scale);
            modulus = modulus / BigInteger.GreatestCommonDivisor(modulus, digits) * digits;
            if (modulus > LargestDivisor)
                throw new GrammarException(GrammarErrorKind.NotServed, "multipleOf", "", $"the divisor has the digits {modulus}; up to {LargestDivisor} is served");
        }
        int m = (int)modulus;

        // 2. How many digits may be written.
        Bound low = Bound.Of(lower), high = Bound.Of(upper);
        int wholes = Math.Max(FreeDigits, Math.Max(low.Whole.Length, high.Whole.Length));
        int fractions = integer ? 0 : divisors.Count > 0 ? scale : Math.Max(FreeFraction, Math.Max(low.Fraction.Length, high.Fraction.Length) + 1);

        // 3. The walk over the digits. A positive number is compared with the bounds, a negative one with their mirror images.
        return Dfa.Explore(new State(Phase.Start, false, 0, 0, 0, false, 0), Symbols, Step, Accepts, budget).Minimize();

        State? Step(State state, int symbol)
        {
            if (symbol == '-')
                return state.Phase == Phase.Start ? state with { Phase = Phase.Sign, Negative = true } : null;
            if (symbol == '.')
                return state.Phase is Phase.Zero or Phase.Whole && fractions > 0 ? EndWhole(state) with { Phase = Phase.Point, Digits = 0 } : null;
            int digit = symbol - '0';
            Bound least = state.Negative ? high : low, most = state.Negative ? low : high;
            State next = state with { Digits = state.Digits + 1, NotZero = state.NotZero || digit != 0, Rest = (state.Rest * 10 + digit) % m };
            switch (state.Phase)
            {
                case Phase.Start or Phase.Sign:
                    next = next with { Phase = digit == 0 ? Phase.Zero : Phase.Whole };
                    break;
                case Phase.Whole when state.Digits < wholes:
                    break;
                case Phase.Point or Phase.Fraction when state.Digits < fractions:
                    return next with { Phase = Phase.Fraction, Low = Compare(state.Low, least.Fraction, state.Digits, digit), High = Compare(state.High, most.Fraction, state.Digits, digit) };
                default:
                    return null;
            }
            return next with { Low = Compare(state.Low, least.Whole, state.Digits, digit), High = Compare(state.High, most.Whole, state.Digits, digit) };
        }

        State EndWhole(State state)
        {
            Bound least = state.Negative ? high : low, most = state.Negative ? low : high;
            return state with { Low = ByLength(state.Low, state.Digits, least.Whole), High = ByLength(state.High, state.Digits, most.Whole) };
        }

        bool Accepts(State state)
        {
            if (state.Phase is Phase.Start or Phase.Sign or Phase.Point || (state.Negative && !state.NotZero))
                return false;
            if (state.Phase != Phase.Fraction)
                state = EndWhole(state) with { Digits = 0 };
            int rest = state.Rest;
            for (int i = state.Digits; i < scale; i++)
                rest = rest * 10 % m;
            return rest == 0 && (state.Negative ? IsBelow(low) && IsAbove(high) : IsAtLeast(low) && IsAtMost(high));

            // The comparisons of a negative number's magnitude: it is at most the lower bound's, and at least the upper bound's.
            bool IsBelow(Bound bound) => !bound.Exists || (bound.Sign < 0 && InOrder(-Order(state.High, bound), bound));
            bool IsAbove(Bound bound) => !bound.Exists || bound.Sign >= 0 || InOrder(Order(state.Low, bound), bound);
            bool IsAtLeast(Bound bound) => !bound.Exists || bound.Sign < 0 || InOrder(Order(state.Low, bound), bound);
            bool IsAtMost(Bound bound) => !bound.Exists || (bound.Sign >= 0 && InOrder(-Order(state.High, bound), bound));
            int Order(int order, Bound bound) => order == 0 && state.Digits < bound.Fraction.Length ? -1 : order;
            static bool InOrder(int order, Bound bound) => bound.IsExclusive ? order > 0 : order >= 0;
        }
    }

    private static int Compare(int order, string bound, int at, int digit)
    {
        if (order != 0)
            return order;
        return digit.CompareTo(at < bound.Length ? bound[at] - '0' : 0);
    }

    // A longer whole part is the larger number, whatever its digits.
    private static int ByLength(int order, int digits, string whole) => digits == whole.Length ? order : digits.CompareTo(whole.Length);

    private enum Phase
    {
        Start,
        Sign,
        Zero,
        Whole,
        Point,
        Fraction,
    }

    private readonly record struct State(Phase Phase, bool Negative, int Digits, int Low, int High, bool NotZero, int Rest);

    private readonly record struct Bound(bool Exists, int Sign, string Whole, string Fraction, bool IsExclusive)
    {
        public static Bound Of(NumberBound? bound)
        {
            if (bound is not NumberBound given)
                return new Bound(false, 0, "", "", false);
            (string whole, string fraction) = given.Value.Decimal;
            return new Bound(true, given.Value.Digits.Sign, whole, fraction, given.IsExclusive);
        }

    }
}
