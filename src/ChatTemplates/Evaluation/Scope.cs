using TpServe.ChatTemplates.Values;

namespace TpServe.ChatTemplates.Evaluation;

/// <summary>The variables of a loop's pass, a macro's call or a block; what is not here is looked up outside.</summary>
/// <remarks>
/// A set writes the innermost scope only, so a loop's assignments end with its pass; an if makes no scope. A macro keeps the scope it was defined
/// in and so sees the values its variables have when it is called.
/// </remarks>
internal sealed class Scope(Scope? parent)
{
    /// <summary>A loop's pass has two or three variables, which a scan finds sooner than a hash table.</summary>
    private const int ScanLimit = 8;

    private readonly Scope? _parent = parent;
    private (string Name, Value Value)[] _few = [];
    private int _count;
    private Dictionary<string, Value>? _many;

    /// <summary>The scope of the whole template.</summary>
    public Scope Root => _parent?.Root ?? this;

    public void Set(string name, Value value)
    {
        if (_many is not null)
        {
            _many[name] = value;
            return;
        }
        int at = Find(name);
        if (at >= 0)
        {
            _few[at].Value = value;
            return;
        }
        if (_count == ScanLimit)
        {
            _many = _few.ToDictionary(static variable => variable.Name, static variable => variable.Value, StringComparer.Ordinal);
            _many[name] = value;
            return;
        }
        if (_count == _few.Length)
            Array.Resize(ref _few, _count == 0 ? 2 : _count * 2);
        _few[_count++] = (name, value);
    }

    /// <summary>The value of a name, undefined where no scope has it.</summary>
    public Value Get(string name)
    {
        for (Scope? scope = this; scope is not null; scope = scope._parent)
        {
            if (scope._many is not null)
            {
                if (scope._many.TryGetValue(name, out Value? value))
                    return value;
                continue;
            }
            int at = scope.Find(name);
            if (at >= 0)
                return scope._few[at].Value;
        }
        return new UndefinedValue($"'{name}' is undefined");
    }

    private int Find(string name)
    {
        for (int i = 0; i < _count; i++)
            if (string.Equals(_few[i].Name, name, StringComparison.Ordinal))
                return i;
        return -1;
    }
}
