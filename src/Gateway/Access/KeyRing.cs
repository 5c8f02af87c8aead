using System.Security.Cryptography;
using System.Text;

namespace TpServe.Gateway.Access;

/// <summary>The keys in force: those of the file as it was when it was last whole.</summary>
/// <remarks>
/// The file is read anew every second and compared, which sees a moved, rewritten or remounted file alike. A file that is malformed or gone changes nothing but the log:
/// an operator's slip neither opens the server nor shuts everybody out. A key that stays keeps what it has used.
/// Threads  any; a call sees one version of all keys.
/// </remarks>
public sealed partial class KeyRing : BackgroundService
{
    private static readonly TimeSpan s_period = TimeSpan.FromSeconds(1);

    private readonly string _path;
    private readonly TimeProvider _clock;
    private readonly ILogger<KeyRing> _log;
    private volatile Held[] _held = [];
    private byte[] _bytes = [];
    private string? _fault;

    /// <exception cref="KeyFileException">The file is not there or malformed: a server that was told to have keys does not start without.</exception>
    public KeyRing(string path, TimeProvider clock, ILogger<KeyRing> log)
    {
        _path = path;
        _clock = clock;
        _log = log;
        if (IsClosed)
            Take(KeyFile.ReadBytes(path));
    }

    /// <summary>Whether a key is asked for at all. It is where a file is named, also while that has no key in it.</summary>
    public bool IsClosed => _path.Length > 0;

    /// <summary>Who has this key; null = nobody.</summary>
    /// <remarks>Every key is compared, each in the same time whatever it has in common with what was sent: time tells nothing of the keys there are.</remarks>
    public Caller? Find(string text)
    {
        ArgumentNullException.ThrowIfNull(text);
        Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
        SHA256.HashData(Encoding.UTF8.GetBytes(text), hash);
        Caller? found = null;
        foreach (Held held in _held)
            if (CryptographicOperations.FixedTimeEquals(held.Hash, hash))
                found = held.Caller;
        return found;
    }

    /// <summary>Reads the file anew, where it has changed.</summary>
    public void Refresh()
    {
        string? fault = null;
        try
        {
            byte[] bytes = KeyFile.ReadBytes(_path);
            if (!bytes.AsSpan().SequenceEqual(_bytes))
            {
                Take(bytes);
                LogRead(_log, _held.Length);
            }
        }
        catch (KeyFileException wrong)
        {
            fault = wrong.Message;
        }
        if (fault is not null && fault != _fault)
            LogKept(_log, fault, _held.Length);
        _fault = fault;
    }

    /// <inheritdoc/>
    protected override async Task ExecuteAsync(CancellationToken stoppingToken)
    {
        if (!IsClosed)
            return;
        using PeriodicTimer period = new(s_period, _clock);
        while (await period.WaitForNextTickAsync(stoppingToken))
            Refresh();
    }

    private void Take(byte[] bytes)
    {
        IReadOnlyList<AccessKey> keys = KeyFile.Parse(_path, bytes);
        Dictionary<AccessKey, Caller> before = _held.ToDictionary(held => held.Caller.Key, held => held.Caller);
        _held = [.. keys.Select(key => new Held(Convert.FromHexString(key.Sha256), before.GetValueOrDefault(key) ?? new Caller(key, _clock)))];
        _bytes = bytes;
    }

    [LoggerMessage(1250, LogLevel.Information, "The keys file has changed: {Keys} keys are in force")]
    private static partial void LogRead(ILogger logger, int keys);

    [LoggerMessage(1251, LogLevel.Error, "The keys file is left out of account: {Fault} The {Keys} keys of before stay in force")]
    private static partial void LogKept(ILogger logger, string fault, int keys);

    private sealed record Held(byte[] Hash, Caller Caller);
}
