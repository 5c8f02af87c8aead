using TpServe.ChatTemplates.Evaluation;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Methods;

/// <summary>The methods of Python's dict.</summary>
internal static class DictMethods
{
    /// <summary>Whether a method would change the dictionary, which the sandbox forbids.</summary>
    public static bool IsMutating(string name) => name is "clear" or "pop" or "popitem" or "setdefault" or "update";

    /// <summary>A method bound to a dictionary, or null.</summary>
    public static Value? Find(DictValue dict, string name) => name switch
    {
        "get" => new FunctionValue((state, arguments) =>
        {
            Value?[] bound = arguments.Bind("get", 1, "key", "default");
            return dict.Get(state, bound[0]!) ?? bound[1] ?? NoneValue.Instance;
        }),
        "keys" => View(dict, name, DictViewKind.Keys),
        "values" => View(dict, name, DictViewKind.Values),
        "items" => View(dict, name, DictViewKind.Items),
        "copy" => new FunctionValue((_, arguments) =>
        {
            arguments.RequirePositional("copy", 0, 0);
            return dict;
        }),
        "fromkeys" => new FunctionValue(FromKeys),
        _ => null,
    };

    private static FunctionValue View(DictValue dict, string name, DictViewKind kind) => new((_, arguments) =>
    {
        arguments.RequirePositional(name, 0, 0);
        return new DictViewValue(dict, kind);
    });

    private static DictValue FromKeys(RenderState state, Arguments arguments)
    {
        Value[] bound = arguments.RequirePositional("fromkeys", 1, 2);
        DictValue made = new();
        foreach (Value key in Iteration.Of(state, bound[0]))
            made.Set(state, key, bound.Length > 1 ? bound[1] : NoneValue.Instance);
        return made;
    }
}
