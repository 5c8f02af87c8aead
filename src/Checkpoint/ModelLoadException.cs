namespace TpServe.Checkpoint;

/// <summary>A model cannot be loaded: the process ends at start. The message names file or tensor, what was expected and what was found.</summary>
public sealed class ModelLoadException : Exception
{
    /// <summary>A load failure with its reason.</summary>
    public ModelLoadException(string message) : base(message) { }

    /// <summary>A load failure with the fault that caused it.</summary>
    public ModelLoadException(string message, Exception inner) : base(message, inner) { }
}
