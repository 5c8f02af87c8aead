namespace TpServe.Gateway.Reports.Statistics;

/// <summary>How well positions among choices were found.</summary>
internal static class MultipleChoice
{
    /// <summary>Position of the largest value; the first of equal ones.</summary>
    public static int Largest(IReadOnlyList<double> values)
    {
        int best = 0;
        for (int i = 1; i < values.Count; i++)
            if (values[i] > values[best])
                best = i;
        return best;
    }

    /// <summary>Share of items where both are the same.</summary>
    public static double Accuracy(IReadOnlyList<int> answers, IReadOnlyList<int> chosen) => answers.Zip(chosen).Count(pair => pair.First == pair.Second) / (double)answers.Count;

    /// <summary>The unweighted mean of F1 = 2·TP / (2·TP + FP + FN) over all classes that are an answer or were chosen.</summary>
    public static double MacroF1(IReadOnlyList<int> answers, IReadOnlyList<int> chosen)
    {
        int[] classes = [.. answers.Union(chosen)];
        return classes.Average(one =>
        {
            int right = answers.Zip(chosen).Count(pair => pair.First == one && pair.Second == one);
            int named = answers.Count(answer => answer == one) + chosen.Count(choice => choice == one); // 2·TP + FP + FN
            return 2.0 * right / named;
        });
    }
}
