namespace TpServe.Chaos.Servers;

/// <summary>A copy of a model that faults take away and put others in place of. Only names move: nobody who has the file open or mapped is disturbed.</summary>
internal sealed class ModelFile
{
    private readonly string _aside;
    private readonly string _other;

    /// <param name="source">What is copied.</param>
    /// <param name="path">Where to.</param>
    public ModelFile(string source, string path)
    {
        Path = path;
        _aside = path + ".aside";
        _other = path + ".other";
        File.Copy(source, path);

        // Of the same name, size and time, and the last weights are others: what only a look into the file can tell.
        File.Copy(source, _other);
        using (FileStream file = File.OpenWrite(_other))
        {
            file.Position = file.Length - 4096;
            file.Write(new byte[4096]);
        }
        File.SetLastWriteTimeUtc(_other, File.GetLastWriteTimeUtc(path));
    }

    /// <summary>Where the server looks for it.</summary>
    public string Path { get; }

    /// <summary>The file is gone.</summary>
    public void TakeAway() => File.Move(Path, _aside);

    /// <summary>Another model has its name.</summary>
    public void Replace()
    {
        File.Move(Path, _aside);
        File.Copy(_other, Path);
        File.SetLastWriteTimeUtc(Path, File.GetLastWriteTimeUtc(_aside));
    }

    /// <summary>All is as it was.</summary>
    public void PutBack() => File.Move(_aside, Path, overwrite: true);
}
