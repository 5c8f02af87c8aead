using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text;

namespace TpServe.Checkpoint.Hub;

/// <summary>Brings one file of a commit into the cache.</summary>
/// <remarks>
/// 1. take the blob's lock, 2. go on with what an earlier attempt left in blobs/HASH.incomplete, 3. compare size and hash, 4. rename, 5. place it in the snapshot.
/// A process that ends anywhere leaves the incomplete file, from which the next one goes on; one that fails the check leaves nothing.
/// </remarks>
internal sealed class HubDownload(HubCache cache, HubClient client, HubOptions options, Action<HubProgress> progress)
{
    private const int BufferBytes = 1 << 20;
    private static readonly TimeSpan LockPause = TimeSpan.FromMilliseconds(100);

    /// <exception cref="HubException">It cannot be had; names the file.</exception>
    public async Task RunAsync(HubModelId id, string commit, HubFile file, CancellationToken cancellation)
    {
        string blob = cache.Blob(id.Repository, file.Hash), incomplete = blob + ".incomplete", placed = Path.Combine(cache.Snapshot(id.Repository, commit), file.Name);
        Directory.CreateDirectory(Path.GetDirectoryName(blob)!);
        using IDisposable held = await LockAsync(cache.Lock(id.Repository, file.Hash), file, incomplete, cancellation);

        // Another process may have been here while the lock was waited for.
        if (HubCache.Holds(placed) && new FileInfo(HubCache.ContentOf(placed)).Length == file.Bytes)
            return;
        if (!File.Exists(blob) || new FileInfo(blob).Length != file.Bytes)
        {
            bool isWhole;
            using (Partial partial = Partial.Open(incomplete, file))
            {
                bool wasResumed = partial.Bytes > 0;
                await FetchAsync(id, commit, file, partial, cancellation);
                if (!partial.IsRight() && wasResumed)
                {
                    // What was left behind may have been of other content, or of a disk that lost its last pages.
                    partial.Restart();
                    await FetchAsync(id, commit, file, partial, cancellation);
                }
                isWhole = partial.IsRight();
                if (isWhole)
                    partial.Flush();
            }
            if (!isWhole)
            {
                File.Delete(incomplete);
                throw new HubException(HubFault.Damaged, $"{file.Name} of {id.Repository}: its content does not have the hash {file.Hash} that the hub announces; what came was removed.");
            }
            File.Move(incomplete, blob, overwrite: true);
        }
        cache.Place(id.Repository, commit, file.Name, blob);
    }

    private async Task<IDisposable> LockAsync(string path, HubFile file, string incomplete, CancellationToken cancellation)
    {
        long last = -1, since = options.Time.GetTimestamp();
        bool isTold = false;
        while (true)
        {
            if (HubLock.TryTake(path) is { } held)
                return held;
            long bytes = HubCache.LengthOf(incomplete);
            if (bytes != last)
                (last, since) = (bytes, options.Time.GetTimestamp());
            else if (options.Time.GetElapsedTime(since) > 2 * options.Patience)
                throw new HubException(HubFault.Busy, string.Create(CultureInfo.InvariantCulture, $"{file.Name}: another process holds {path}, and has brought nothing for {options.Time.GetElapsedTime(since).TotalSeconds:0} s."));
            progress(new HubProgress(file.Name, bytes, file.Bytes, isTold ? null : $"{file.Name}: another process is downloading it."));
            isTold = true;
            await Task.Delay(LockPause, options.Time, cancellation);
        }
    }

    /// <summary>Brings what is missing. Attempts that get on are not counted: a line that is cut every minute still brings a large file.</summary>
    private async Task FetchAsync(HubModelId id, string commit, HubFile file, Partial partial, CancellationToken cancellation)
    {
        while (partial.Bytes < file.Bytes)
        {
            long before = partial.Bytes;
            try
            {
                await client.TryAsync(async attempt =>
                {
                    await FetchOnceAsync(id, commit, file, partial, attempt);
                    return true;
                }, cancellation);
            }
            catch (HubException fault) when (fault.MayPass && partial.Bytes - before >= BufferBytes)
            {
                // It got on: another round.
            }
        }
    }

    private async Task FetchOnceAsync(HubModelId id, string commit, HubFile file, Partial partial, CancellationToken cancellation)
    {
        using HttpResponseMessage answer = await client.OpenAsync(id, commit, file.Name, partial.Bytes, cancellation);
        if (answer.StatusCode == HttpStatusCode.RequestedRangeNotSatisfiable)
        {
            partial.Restart();
            throw new HubException(HubFault.Unreachable, $"{file.Name}: the hub does not go on where it was left.") { MayPass = true };
        }
        if (answer.StatusCode == HttpStatusCode.PartialContent)
        {
            if (answer.Content.Headers.ContentRange is not { From: { } from } range || from != partial.Bytes || range.Length is { } length && length != file.Bytes)
                throw Mismatch($"the range '{answer.Content.Headers.ContentRange}' came for {partial.Bytes} of {file.Bytes} bytes");
        }
        else
        {
            if (answer.Content.Headers.ContentLength is { } length && length != file.Bytes)
                throw Mismatch($"{length} bytes come where {file.Bytes} are announced");
            partial.Restart();
        }
        await using Stream body = await answer.Content.ReadAsStreamAsync(cancellation);
        byte[] buffer = new byte[BufferBytes];
        progress(new HubProgress(file.Name, partial.Bytes, file.Bytes));
        while (partial.Bytes < file.Bytes)
        {
            int read = await client.ReadAsync(body, buffer, cancellation);
            if (read == 0)
                throw new HubException(HubFault.Unreachable, $"{file.Name}: the connection ended after {partial.Bytes} of {file.Bytes} bytes.") { MayPass = true };
            if (read > file.Bytes - partial.Bytes)
                throw Mismatch($"more than the {file.Bytes} bytes come that are announced");
            await partial.AppendAsync(buffer.AsMemory(0, read), cancellation);
            progress(new HubProgress(file.Name, partial.Bytes, file.Bytes));
        }

        HubException Mismatch(string what)
        {
            partial.Delete();
            return new HubException(HubFault.Damaged, $"{file.Name} of {id.Repository}: {what}; what came was removed.");
        }
    }

    /// <summary>The incomplete file with the hash of what it holds so far.</summary>
    private sealed class Partial : IDisposable
    {
        private const int Sha256Letters = 64, Sha1Letters = 40;
        private readonly HubFile _file;
        private readonly FileStream _stream;
        private IncrementalHash? _hash;

        private Partial(HubFile file, FileStream stream)
        {
            _file = file;
            _stream = stream;
        }

        /// <summary>How many are there.</summary>
        public long Bytes => _stream.Length;

        /// <summary>Opens what an earlier attempt left, or a new one.</summary>
        public static Partial Open(string path, HubFile file)
        {
            Partial partial = new(file, new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0));
            try
            {
                if (partial.Bytes > file.Bytes)
                    partial.Restart();
                else
                    partial.TakeUp();
                return partial;
            }
            catch
            {
                partial.Dispose();
                throw;
            }
        }

        public async ValueTask AppendAsync(ReadOnlyMemory<byte> bytes, CancellationToken cancellation)
        {
            await _stream.WriteAsync(bytes, cancellation);
            _hash?.AppendData(bytes.Span);
        }

        public void Restart()
        {
            _stream.SetLength(0);
            Begin();
        }

        /// <summary>Whether the content is what the hash names; of hashes of other kinds the size alone tells.</summary>
        public bool IsRight() => Bytes == _file.Bytes && (_hash is null || Convert.ToHexStringLower(_hash.GetCurrentHash()).Equals(_file.Hash, StringComparison.OrdinalIgnoreCase));

        /// <summary>Onto the disk, before the name says that it is whole.</summary>
        public void Flush() => _stream.Flush(flushToDisk: true);

        /// <summary>Has the name go; the stream is closed by its owner.</summary>
        public void Delete() => File.Delete(_stream.Name);

        public void Dispose()
        {
            _stream.Dispose();
            _hash?.Dispose();
        }

        private void TakeUp()
        {
            Begin();
            byte[] buffer = new byte[BufferBytes];
            _stream.Position = 0;
            while (_stream.Read(buffer) is var read and > 0)
                _hash?.AppendData(buffer, 0, read);
        }

        private void Begin()
        {
            _hash?.Dispose();
            bool isHex = _file.Hash.All(char.IsAsciiHexDigit);
            _hash = isHex && _file.Hash.Length == Sha256Letters ? IncrementalHash.CreateHash(HashAlgorithmName.SHA256)
                : isHex && _file.Hash.Length == Sha1Letters ? IncrementalHash.CreateHash(HashAlgorithmName.SHA1) // git's name of small files: against damage, not against a forger
                : null;
            if (_file.Hash.Length == Sha1Letters)
                _hash?.AppendData(Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"blob {_file.Bytes}\0")));
            _stream.Position = 0;
        }
    }
}
