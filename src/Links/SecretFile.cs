namespace TpServe.Links;

/// <summary>Files that only their owner may read, and that replace nothing.</summary>
public static class SecretFile
{
    /// <summary>Writes a line, or several, to a file that is not there yet.</summary>
    /// <exception cref="LinkException">It is there, or cannot be written.</exception>
    public static void Write(string file, string text)
    {
        ArgumentNullException.ThrowIfNull(file);
        FileStreamOptions options = new() { Mode = FileMode.CreateNew, Access = FileAccess.Write };
        if (!OperatingSystem.IsWindows())
            options.UnixCreateMode = UnixFileMode.UserRead | UnixFileMode.UserWrite; // from the first moment on
        try
        {
            using StreamWriter writer = new(file, options);
            writer.WriteLine(text);
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new LinkException(Path.Exists(file) ? $"'{file}' exists, and is not overwritten: the group that uses it would be cut off." : $"'{file}' cannot be written: {fault.Message}", fault);
        }
    }
}
