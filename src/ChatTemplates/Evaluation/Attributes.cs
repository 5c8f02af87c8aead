using System.Numerics;
using TpServe.ChatTemplates.Methods;
using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Evaluation;

/// <summary>value.name and value[key] under the sandbox's rules.</summary>
/// <remarks>
/// A dot asks for the object's own attribute first and then for the key, a bracket the other way round; so d.items is the method and d['items'] the
/// key. What begins with an underscore and what would change a list or dictionary is there, but undefined, and fails as a security fault when used.
/// </remarks>
internal static class Attributes
{
    /// <summary>value.name.</summary>
    public static Value Get(RenderState state, Value value, string name)
    {
        if (value is UndefinedValue undefined)
            return IsDunder(name) ? Unsafe(value, name) : throw undefined.Fail();
        return Own(value, name) ?? Element(state, value, StringValue.Template(name)) ?? new UndefinedValue(
            $"{PythonText.Quote(Describe(value))} has no attribute {PythonText.Quote(name)}");
    }

    /// <summary>value[key].</summary>
    public static Value GetItem(RenderState state, Value value, Value key)
    {
        if (value is UndefinedValue undefined)
            throw undefined.Fail();
        if (Element(state, value, key) is { } element)
            return element;
        if (key is not StringValue name)
            return new UndefinedValue($"{Describe(value)} has no element {PythonText.Repr(state, key).Text}");
        return Own(value, name.Text) ?? new UndefinedValue(
            $"{PythonText.Quote(Describe(value))} has no attribute {PythonText.Quote(name.Text)}");
    }

    /// <summary>A path such as "function.name" or "0.id", as the filters' attribute argument gives it.</summary>
    public static Value GetPath(RenderState state, Value value, Value[] path, Value? absent = null)
    {
        foreach (Value part in path)
        {
            value = GetItem(state, value, part);
            if (absent is not null && value is UndefinedValue)
                value = absent;
        }
        return value;
    }

    /// <summary>The parts of a filter's attribute argument: text is cut at its dots, digits become indices.</summary>
    public static Value[] ParsePath(Value? attribute)
    {
        if (attribute is null or NoneValue)
            return [];
        if (attribute is not StringValue text)
            return [attribute];
        return [.. text.Text.Split('.').Select(part => part.Length > 0 && part.All(char.IsDigit) && PythonNumbers.TryParseInteger(part, 10, out BigInteger index)
            ? (Value)new IntValue(index)
            : StringValue.Template(part))];
    }

    /// <summary>The attribute of the object itself, as Python's getattr finds it; null where there is none.</summary>
    public static Value? Own(Value value, string name)
    {
        if (value is NamespaceValue space)
            return !space.Attributes.TryGetValue(name, out Value? attribute) ? null : name.StartsWith('_') ? Unsafe(value, name) : attribute;
        if (name.StartsWith('_'))
            return IsDunder(name) ? Unsafe(value, name) : null;
        return value switch
        {
            StringValue text => StringMethods.Find(text, name),
            DictValue dict => DictMethods.IsMutating(name) ? Unsafe(value, name) : DictMethods.Find(dict, name),
            ListValue list => ListMethods.IsMutating(name) ? Unsafe(value, name) : ListMethods.Find(list, name),
            GroupValue group when name is "grouper" or "list" => group.Items[name == "list" ? 1 : 0],
            TupleValue tuple => ListMethods.FindInTuple(tuple, name),
            RangeValue range => name switch
            {
                "start" => new IntValue(range.Start),
                "stop" => new IntValue(range.Stop),
                "step" => new IntValue(range.Step),
                _ => null,
            },
            LoopValue loop => loop.Attribute(name),
            MacroValue macro => macro.Attribute(name),
            CyclerValue cycler => cycler.Attribute(name),
            IntValue or BoolValue or FloatValue => NumberMethods.Find(value, name),
            _ => null,
        };
    }

    /// <summary>The element at a key or index; null where Python raises a TypeError, KeyError or IndexError.</summary>
    private static Value? Element(RenderState state, Value value, Value key)
    {
        switch (value)
        {
            case DictValue dict:
                return key is ListValue or DictValue ? null : dict.Get(state, key);
            case StringValue or SequenceValue or RangeValue:
                return key.TryInteger(out BigInteger index) ? Iteration.ElementAt(value, index) : null;
            default:
                return null;
        }
    }

    private static UndefinedValue Unsafe(Value value, string name) => new(
        $"access to attribute {PythonText.Quote(name)} of {PythonText.Quote(value.TypeName)} object is unsafe.", ChatTemplateErrorReason.Security);

    private static string Describe(Value value) => value is NoneValue ? "None" : $"{value.TypeName} object";

    /// <summary>Names that every Python object, or every container, has: all of them are unsafe.</summary>
    private static bool IsDunder(string name) => name is "__class__" or "__delattr__" or "__dir__" or "__doc__" or "__eq__" or "__format__" or "__ge__" or
        "__getattribute__" or "__getstate__" or "__gt__" or "__hash__" or "__init__" or "__init_subclass__" or "__le__" or "__lt__" or "__ne__" or "__new__" or
        "__reduce__" or "__reduce_ex__" or "__repr__" or "__setattr__" or "__sizeof__" or "__str__" or "__subclasshook__" or "__len__" or "__iter__" or
        "__getitem__" or "__contains__" or "__add__" or "__mul__";
}
