using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Text.Json;
using Polly;
using Polly.Retry;

namespace TpServe.Checkpoint.Hub;

/// <summary>A repository's files at a commit.</summary>
/// <param name="Commit">The commit.</param>
/// <param name="Names">All names, unchecked.</param>
internal sealed record HubListing(string Commit, IReadOnlyList<string> Names);

/// <summary>What the hub announces of a file.</summary>
/// <param name="Name">In its repository.</param>
/// <param name="Hash">The etag: SHA-256 of the content, git's SHA-1 of it, or something else that names it; fit to be a file's name.</param>
/// <param name="Bytes">Size.</param>
internal sealed record HubFile(string Name, string Hash, long Bytes);

/// <summary>The hub's routes over HTTP.</summary>
/// <remarks>
/// Redirects are followed here and not by the client below: the token goes to the hub's own origin alone, https never becomes http, and there are few hops.
/// Every wait has an end: <see cref="HubOptions.Patience"/> for the head of an answer and for each next piece of it.
/// Errors   <see cref="HubException"/>; what may pass is tried again by the pipeline before it is thrown.
/// Threads  any.
/// Source   huggingface_hub's HTTP routes: api/models/ID/revision/REVISION, ID/resolve/REVISION/FILE, X-Linked-Etag, X-Linked-Size, X-Repo-Commit, X-Error-Code.
/// </remarks>
internal sealed class HubClient : IDisposable
{
    private const int MostHops = 5, MostFiles = 100_000, LongestHash = 128, MaxJsonDepth = 32;
    private const int MaxListingBytes = 32 << 20;

    private readonly HubOptions _options;
    private readonly Uri _endpoint;
    private readonly HttpClient _http;
    private readonly ResiliencePipeline _retries;

    /// <param name="options">Address, token, patience.</param>
    /// <param name="note">Told why an attempt is made again.</param>
    /// <exception cref="HubException">The address or the token is none.</exception>
    public HubClient(HubOptions options, Action<string> note)
    {
        _options = options;
        if (!Uri.TryCreate(options.Endpoint.TrimEnd('/') + "/", UriKind.Absolute, out Uri? endpoint) || endpoint.Scheme is not ("http" or "https") || endpoint.Query.Length > 0 || endpoint.UserInfo.Length > 0)
            throw new HubException(HubFault.Refused, $"HF_ENDPOINT '{options.Endpoint}' is no http:// or https:// address.");
        if (options.Token is { } token && token.Any(letter => letter is <= ' ' or >= '\x7f'))
            throw new HubException(HubFault.Refused, "HF_TOKEN holds a character that no token has.");
        _endpoint = endpoint;
        _http = new HttpClient(new SocketsHttpHandler
        {
            AllowAutoRedirect = false,
            AutomaticDecompression = DecompressionMethods.None,
            ConnectTimeout = options.Patience,
            UseCookies = false,
            UseProxy = !endpoint.IsLoopback,
        })
        { Timeout = Timeout.InfiniteTimeSpan };
        _retries = new ResiliencePipelineBuilder { TimeProvider = options.Time }.AddRetry(new RetryStrategyOptions
        {
            ShouldHandle = attempt => ValueTask.FromResult(attempt.Outcome.Exception is HubException { MayPass: true }),
            MaxRetryAttempts = options.Retries,
            BackoffType = DelayBackoffType.Exponential,
            UseJitter = true,
            Delay = options.RetryDelay,
            MaxDelay = options.LongestDelay,
            DelayGenerator = attempt => ValueTask.FromResult((attempt.Outcome.Exception as HubException)?.After),
            OnRetry = attempt =>
            {
                note(string.Create(CultureInfo.InvariantCulture, $"{attempt.Outcome.Exception!.Message} Again in {attempt.RetryDelay.TotalSeconds:0.#} s."));
                return ValueTask.CompletedTask;
            },
        }).Build();
    }

    /// <summary>The page of a repository, for people.</summary>
    public string PageOf(string repository) => new Uri(_endpoint, repository).ToString();

    /// <summary>Runs something that asks the hub, again where its failure may pass.</summary>
    public ValueTask<T> TryAsync<T>(Func<CancellationToken, ValueTask<T>> attempt, CancellationToken cancellation) => _retries.ExecuteAsync(attempt, cancellation);

    /// <summary>A revision's commit and files.</summary>
    public ValueTask<HubListing> ListAsync(HubModelId id, CancellationToken cancellation) => TryAsync(
        async attempt =>
        {
            using HttpResponseMessage answer = await SendAsync(HttpMethod.Get, new Uri(_endpoint, $"api/models/{id.Repository}/revision/{Uri.EscapeDataString(id.Revision)}"), 0, null, attempt);
            Require(answer, id, null);
            return Listing(await ReadAllAsync(answer, attempt), id);
        },
        cancellation);

    /// <summary>Size and hash of a file.</summary>
    public ValueTask<HubFile> DescribeAsync(HubModelId id, string commit, string name, CancellationToken cancellation) => TryAsync(
        async attempt =>
        {
            // The first answer that says what the file is ends the way: the address behind it may know another hash, and is another host's.
            using HttpResponseMessage answer = await SendAsync(HttpMethod.Head, AddressOf(id, commit, name), 0, found => Header(found, "X-Linked-Etag") is not null, attempt);
            if ((int)answer.StatusCode is < 300 or >= 400)
                Require(answer, id, name);
            if (Header(answer, "X-Repo-Commit") is { } from && from != commit)
                throw new HubException(HubFault.Damaged, $"{name} of {id.Repository}: it is of commit '{Shown(from)}', not of {commit}.");
            string hash = (Header(answer, "X-Linked-Etag") ?? answer.Headers.ETag?.Tag ?? Header(answer, "ETag") ?? "").Trim();
            hash = (hash.StartsWith("W/", StringComparison.Ordinal) ? hash[2..] : hash).Trim('"');
            if (hash.Length is 0 or > LongestHash || !hash.All(letter => char.IsAsciiLetterOrDigit(letter) || letter is '-' or '_'))
                throw new HubException(HubFault.Refused, $"{name} of {id.Repository}: the hub names its content '{Shown(hash)}', which is no hash.");
            long? bytes = Header(answer, "X-Linked-Size") is { } text ? long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out long size) ? size : null : answer.Content.Headers.ContentLength;
            return bytes is { } known ? new HubFile(name, hash, known) : throw new HubException(HubFault.Refused, $"{name} of {id.Repository}: the hub does not say its size.");
        },
        cancellation);

    /// <summary>Opens a file's content from a byte on; one attempt. The answer is 200, 206 or 416.</summary>
    public async Task<HttpResponseMessage> OpenAsync(HubModelId id, string commit, string name, long from, CancellationToken cancellation)
    {
        HttpResponseMessage answer = await SendAsync(HttpMethod.Get, AddressOf(id, commit, name), from, null, cancellation);
        try
        {
            if (answer.StatusCode != HttpStatusCode.RequestedRangeNotSatisfiable)
                Require(answer, id, name);
            return answer;
        }
        catch
        {
            answer.Dispose();
            throw;
        }
    }

    /// <summary>The next piece of a body; 0 at its end.</summary>
    /// <exception cref="HubException">The connection broke, or nothing came in time: both may pass.</exception>
    public async ValueTask<int> ReadAsync(Stream body, Memory<byte> buffer, CancellationToken cancellation)
    {
        using CancellationTokenSource patience = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        patience.CancelAfter(_options.Patience);
        try
        {
            return await body.ReadAsync(buffer, patience.Token);
        }
        catch (Exception fault) when (Passes(fault, cancellation))
        {
            throw Unreachable("the connection was cut", fault);
        }
    }

    public void Dispose() => _http.Dispose();

    private Uri AddressOf(HubModelId id, string commit, string name) => new(_endpoint, $"{id.Repository}/resolve/{commit}/{string.Join('/', name.Split('/').Select(Uri.EscapeDataString))}");

    private async Task<HttpResponseMessage> SendAsync(HttpMethod method, Uri address, long from, Func<HttpResponseMessage, bool>? isEnough, CancellationToken cancellation)
    {
        Uri at = address;
        for (int hop = 0; hop <= MostHops; hop++)
        {
            using HttpRequestMessage request = new(method, at);
            request.Headers.AcceptEncoding.Add(new StringWithQualityHeaderValue("identity"));
            request.Headers.UserAgent.Add(new ProductInfoHeaderValue("tpserve", "1"));
            if (_options.Token is { } token && IsHub(at))
                request.Headers.Authorization = new AuthenticationHeaderValue("Bearer", token);
            if (from > 0)
                request.Headers.Range = new RangeHeaderValue(from, null);
            HttpResponseMessage answer = await HeadAsync(request, cancellation);
            if ((int)answer.StatusCode is not (301 or 302 or 303 or 307 or 308) || answer.Headers.Location is not { } location || isEnough?.Invoke(answer) == true)
                return answer;
            answer.Dispose();
            Uri next = new(at, location);
            if (next.Scheme is not ("http" or "https") || at.Scheme == "https" && next.Scheme == "http")
                throw new HubException(HubFault.Refused, $"{address} leads to {next.GetLeftPart(UriPartial.Path)}: from https only https is followed, and nothing but http and https.");
            at = next;
        }
        throw new HubException(HubFault.Refused, $"{address} leads on more than {MostHops} times.");
    }

    private async Task<HttpResponseMessage> HeadAsync(HttpRequestMessage request, CancellationToken cancellation)
    {
        using CancellationTokenSource patience = CancellationTokenSource.CreateLinkedTokenSource(cancellation);
        patience.CancelAfter(_options.Patience);
        try
        {
            return await _http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, patience.Token);
        }
        catch (Exception fault) when (Passes(fault, cancellation))
        {
            throw Unreachable($"{request.RequestUri!.GetLeftPart(UriPartial.Authority)} cannot be reached", fault);
        }
    }

    private static bool Passes(Exception fault, CancellationToken cancellation) => fault is HttpRequestException or IOException || fault is OperationCanceledException && !cancellation.IsCancellationRequested;

    private HubException Unreachable(string what, Exception fault) => new(
        HubFault.Unreachable, fault is OperationCanceledException ? string.Create(CultureInfo.InvariantCulture, $"{what}: nothing came for {_options.Patience.TotalSeconds:0.#} s.") : $"{what}: {fault.GetBaseException().Message}.", fault)
    { MayPass = true };

    private bool IsHub(Uri address) => address.Scheme == _endpoint.Scheme && address.Port == _endpoint.Port && address.Host.Equals(_endpoint.Host, StringComparison.OrdinalIgnoreCase);

    /// <summary>Fails where an answer is none, by what it says.</summary>
    private void Require(HttpResponseMessage answer, HubModelId id, string? name)
    {
        if (answer.IsSuccessStatusCode)
            return;
        string what = name is null ? $"{id.Repository} at {id.Revision}" : $"{name} of {id.Repository} at {id.Revision}", code = Header(answer, "X-Error-Code") ?? "";
        int status = (int)answer.StatusCode;
        switch (answer.StatusCode)
        {
            case HttpStatusCode.Forbidden or HttpStatusCode.Unauthorized when code == "GatedRepo" || answer.StatusCode == HttpStatusCode.Forbidden:
                throw new HubException(HubFault.Forbidden, $"{what}: the hub gives it only to those who have accepted its terms (HTTP {status}): accept them at {PageOf(id.Repository)} and set HF_TOKEN to a token of that account{(_options.Token is null ? "" : "; the one that is set is of another, or may not read it")}.");
            case HttpStatusCode.Unauthorized:
                throw new HubException(HubFault.Forbidden, $"{what}: {PageOf(id.Repository)} asks who wants it (HTTP 401), which is also its answer where there is no such repository: {(_options.Token is null ? "set HF_TOKEN" : "the HF_TOKEN that is set is not taken")}.");
            case HttpStatusCode.NotFound:
                throw new HubException(HubFault.NotFound, code switch
                {
                    "RevisionNotFound" => $"{id.Repository} has no revision '{id.Revision}' at {_endpoint}.",
                    "EntryNotFound" => $"{id.Repository} at {id.Revision} has no file '{name}' at {_endpoint}.",
                    _ when name is not null => $"{id.Repository} at {id.Revision} has no file '{name}' at {_endpoint}.",
                    "RepoNotFound" => $"there is no repository {id.Repository} at {_endpoint}.",
                    _ => $"there is no repository {id.Repository} with a revision '{id.Revision}' at {_endpoint}.",
                });
            case HttpStatusCode.TooManyRequests or HttpStatusCode.RequestTimeout or >= HttpStatusCode.InternalServerError:
                TimeSpan? after = answer.Headers.RetryAfter is { } wish ? wish.Delta ?? (wish.Date - _options.Time.GetUtcNow()) : null;
                after = after < TimeSpan.Zero ? TimeSpan.Zero : after;
                if (after > _options.LongestDelay)
                    throw new HubException(HubFault.Unreachable, string.Create(CultureInfo.InvariantCulture, $"{what}: the hub answers {status} and wants to be asked again in {after.Value.TotalSeconds:0} s; no more than {_options.LongestDelay.TotalSeconds:0} s are waited."));
                throw new HubException(HubFault.Unreachable, $"{what}: the hub answers {status}.") { MayPass = true, After = after };
            default:
                throw new HubException(HubFault.Refused, $"{what}: the hub answers {status}.");
        }
    }

    private async Task<byte[]> ReadAllAsync(HttpResponseMessage answer, CancellationToken cancellation)
    {
        await using Stream body = await answer.Content.ReadAsStreamAsync(cancellation);
        using MemoryStream whole = new();
        byte[] buffer = new byte[64 << 10];
        while (await ReadAsync(body, buffer, cancellation) is var read and > 0)
        {
            whole.Write(buffer, 0, read);
            if (whole.Length > MaxListingBytes)
                throw new HubException(HubFault.Refused, $"the hub's list of files is longer than {MaxListingBytes} bytes.");
        }
        return whole.ToArray();
    }

    private static HubListing Listing(byte[] json, HubModelId id)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(json, new JsonDocumentOptions { MaxDepth = MaxJsonDepth });
            string commit = document.RootElement.GetProperty("sha").GetString() ?? "";
            if (!HubCache.IsCommit(commit))
                throw new HubException(HubFault.Refused, $"{id.Repository}: the hub names the commit '{Shown(commit)}', which is none.");
            JsonElement siblings = document.RootElement.GetProperty("siblings");
            return siblings.GetArrayLength() <= MostFiles
                ? new HubListing(commit, [.. siblings.EnumerateArray().Select(sibling => sibling.GetProperty("rfilename").GetString() ?? "").Distinct(StringComparer.Ordinal)])
                : throw new HubException(HubFault.Refused, $"{id.Repository}: the hub lists {siblings.GetArrayLength()} files; the limit is {MostFiles}.");
        }
        catch (Exception fault) when (fault is JsonException or KeyNotFoundException or InvalidOperationException)
        {
            throw new HubException(HubFault.Refused, $"{id.Repository}: the hub's list of files is not what such a list is: {fault.Message}", fault);
        }
    }

    private static string? Header(HttpResponseMessage answer, string name) =>
        answer.Headers.TryGetValues(name, out IEnumerable<string>? values) || answer.Content.Headers.TryGetValues(name, out values) ? values.FirstOrDefault() : null;

    private static string Shown(string text) => new([.. text.Take(80).Select(letter => char.IsControl(letter) ? '?' : letter)]);
}
