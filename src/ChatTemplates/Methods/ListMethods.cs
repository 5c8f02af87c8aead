using TpServe.ChatTemplates.Evaluation;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Methods;

/// <summary>The methods of Python's list and tuple that change nothing.</summary>
internal static class ListMethods
{
    /// <summary>Whether a method would change the list, which the sandbox forbids.</summary>
    public static bool IsMutating(string name) =>
        name is "append" or "clear" or "pop" or "reverse" or "insert" or "sort" or "extend" or "remove";

    /// <summary>A method bound to a list, or null.</summary>
    public static Value? Find(ListValue list, string name)
    {
        if (name != "copy")
            return FindShared(list, name);
        return new FunctionValue((_, arguments) =>
        {
            arguments.RequirePositional("copy", 0, 0);
            return list;
        });
    }

    /// <summary>A method bound to a tuple, or null.</summary>
    public static Value? FindInTuple(TupleValue tuple, string name) => FindShared(tuple, name);

    private static FunctionValue? FindShared(SequenceValue sequence, string name) => name switch
    {
        "count" => new FunctionValue((state, arguments) =>
        {
            Value wanted = arguments.RequirePositional("count", 1, 1)[0];
            return new IntValue(sequence.Items.Count(item => Comparison.IsSame(state, item, wanted)));
        }),
        "index" => new FunctionValue((state, arguments) => Index(state, sequence, arguments)),
        _ => null,
    };

    private static IntValue Index(RenderState state, SequenceValue sequence, Arguments arguments)
    {
        Value[] bound = arguments.RequirePositional("index", 1, 3);
        int length = sequence.Items.Length;
        int start = bound.Length > 1 ? Clamp(bound[1].RequireInt32(), length) : 0;
        int end = bound.Length > 2 ? Clamp(bound[2].RequireInt32(), length) : length;
        for (int i = start; i < end; i++)
            if (Comparison.IsSame(state, sequence.Items[i], bound[0]))
                return new IntValue(i);
        throw Fault.Value($"{PythonText.Repr(state, bound[0]).Text} is not in {sequence.TypeName}");
    }

    private static int Clamp(int index, int length) => Math.Clamp(index < 0 ? index + length : index, 0, length);
}
