namespace TpServe.Testing;

/// <summary>A clock that stands where a test puts it.</summary>
public sealed class SetClock(DateTimeOffset now) : TimeProvider
{
    /// <summary>What it shows.</summary>
    public DateTimeOffset Now { get; set; } = now;

    /// <inheritdoc/>
    public override DateTimeOffset GetUtcNow() => Now;
}

/// <summary>A folder that goes with the test.</summary>
public sealed class TemporaryFolder() : IDisposable
{
    /// <summary>Where it is.</summary>
    public string Path { get; } = Directory.CreateTempSubdirectory("tpserve-test-").FullName;

    /// <summary>A path in it.</summary>
    public string Of(string name) => System.IO.Path.Combine(Path, name);

    /// <inheritdoc/>
    public void Dispose() => Directory.Delete(Path, recursive: true);
}
