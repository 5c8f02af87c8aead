namespace TpServe.Ptx.Ops;

/// <summary>Finds for each branch the instruction all its ways come through: where parted lanes meet again.</summary>
/// <remarks>Source: Cooper, Harvey and Kennedy 2001, "A Simple, Fast Dominance Algorithm", on the reversed graph.</remarks>
internal static class PostDominators
{
    /// <summary>Sets MeetingPc of every branch in code[start, end); a function is one contiguous piece.</summary>
    /// <remarks>
    /// Lanes that end early are not waited for, so only the exit most instructions lead to counts; where no way leads there, all exits do.
    /// </remarks>
    public static void Resolve(List<PtxOp> code, int start, int end)
    {
        int[] mainly = Find(code, start, end, MainExit(code, start, end)), all = Find(code, start, end, -1);
        int exit = end - start;
        for (int i = 0; i < exit; i++)
        {
            if (code[start + i] is not IBranch branch)
                continue;
            int meeting = mainly[i] >= 0 ? mainly[i] : all[i];
            branch.MeetingPc = meeting < 0 || meeting == exit ? -1 : start + meeting;
        }
    }

    /// <summary>The exit that most instructions can reach.</summary>
    private static int MainExit(List<PtxOp> code, int start, int end)
    {
        int count = end - start, best = -1, most = -1;
        List<int>[] predecessors = Predecessors(code, start, count, -1, out _);
        for (int i = 0; i < count; i++)
        {
            if (code[start + i] is not (ExitOp or ReturnOp) || code[start + i].Guard >= 0)
                continue;
            HashSet<int> reached = [i];
            Stack<int> open = new([i]);
            while (open.TryPop(out int node))
                foreach (int before in predecessors[node])
                    if (reached.Add(before))
                        open.Push(before);
            if (reached.Count >= most)
                (best, most) = (i, reached.Count);
        }
        return best;
    }

    private static List<int>[] Predecessors(List<PtxOp> code, int start, int count, int onlyExit, out List<int>[] successors)
    {
        successors = new List<int>[count + 1];
        List<int>[] predecessors = new List<int>[count + 1];
        for (int i = 0; i <= count; i++)
            predecessors[i] = [];
        successors[count] = [];
        for (int i = 0; i < count; i++)
        {
            successors[i] = [.. SuccessorsOf(code[start + i], i + 1, start, count)];
            if (onlyExit >= 0 && i != onlyExit)
                successors[i].Remove(count);
            foreach (int next in successors[i])
                predecessors[next].Add(i);
        }
        return predecessors;
    }

    private static int[] Find(List<PtxOp> code, int start, int end, int onlyExit)
    {
        int count = end - start, exit = count;
        List<int>[] predecessors = Predecessors(code, start, count, onlyExit, out List<int>[] successors);

        // Post-order of the reversed graph, from the exit.
        int[] order = new int[count + 1];
        Array.Fill(order, -1);
        List<int> sequence = [];
        Stack<(int Node, int Next)> stack = new([(exit, 0)]);
        bool[] seen = new bool[count + 1];
        seen[exit] = true;
        while (stack.Count > 0)
        {
            (int node, int next) = stack.Pop();
            if (next < predecessors[node].Count)
            {
                stack.Push((node, next + 1));
                int before = predecessors[node][next];
                if (!seen[before])
                {
                    seen[before] = true;
                    stack.Push((before, 0));
                }
                continue;
            }
            order[node] = sequence.Count;
            sequence.Add(node);
        }

        int[] dominator = new int[count + 1];
        Array.Fill(dominator, -1);
        dominator[exit] = exit;
        for (bool changed = true; changed;)
        {
            changed = false;
            for (int i = sequence.Count - 2; i >= 0; i--)
            {
                int node = sequence[i], best = -1;
                foreach (int next in successors[node])
                    if (dominator[next] >= 0)
                        best = best < 0 ? next : Intersect(best, next, dominator, order);
                if (best != dominator[node])
                {
                    dominator[node] = best;
                    changed = true;
                }
            }
        }
        return dominator;
    }

    private static int Intersect(int a, int b, int[] dominator, int[] order)
    {
        while (a != b)
        {
            while (order[a] < order[b])
                a = dominator[a];
            while (order[b] < order[a])
                b = dominator[b];
        }
        return a;
    }

    private static IEnumerable<int> SuccessorsOf(PtxOp op, int next, int start, int exit)
    {
        bool falls = op.Guard >= 0;
        switch (op)
        {
            case ExitOp or ReturnOp or TrapOp:
                yield return exit;
                break;
            case IBranch branch:
                foreach (int target in branch.Targets)
                    yield return target - start;
                break;
            default:
                falls = true;
                break;
        }
        if (falls && next < exit)
            yield return next;
    }
}
