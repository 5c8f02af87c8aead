using System.Collections.Concurrent;
using System.Globalization;
using System.Net;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Hosting.Server;
using Microsoft.AspNetCore.Hosting.Server.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace TpServe.Testing.Hub;

/// <summary>A hub on loopback that speaks the routes of the real one: the list of a revision's files, and their content, large files by a redirect to a second host.</summary>
/// <remarks>Threads  a test sets it up before it is asked; what was asked may be read at any time.</remarks>
internal sealed class FakeHub : IAsyncDisposable
{
    private static readonly TimeSpan s_longestStall = TimeSpan.FromSeconds(20);
    private readonly WebApplication _hub;
    private readonly WebApplication _storage;
    private readonly Dictionary<string, byte[]> _files = [];

    private FakeHub(string repository)
    {
        Repository = repository;
        _hub = Build(AnswerAsync);
        _storage = Build(StoreAsync);
    }

    public string Repository { get; }

    public string Commit { get; set; } = new('a', 40);

    /// <summary>The revision that there is.</summary>
    public string Revision { get; set; } = "main";

    public string Address => AddressOf(_hub);

    /// <summary>Files that lie on the second host, named by their SHA-256; the others are named by git's SHA-1.</summary>
    public HashSet<string> Large { get; } = [];

    /// <summary>The token without which nothing is given; null = everybody may ask.</summary>
    public string? Token { get; set; }

    /// <summary>Answers the first requests of a kind otherwise: gets method and path, says whether it answered.</summary>
    public Func<HttpContext, Task<bool>>? Intercept { get; set; }

    /// <summary>Bytes after which a body is cut, for as many bodies as <see cref="Cuts"/> says.</summary>
    public int CutAfter { get; set; }

    public int Cuts { get; set; }

    /// <summary>What a body waits for before it is cut.</summary>
    public Task Stall { get; set; } = Task.CompletedTask;

    /// <summary>Changes what is sent, not what is announced.</summary>
    public Func<string, byte[], byte[]> Corrupt { get; set; } = (_, bytes) => bytes;

    /// <summary>Names in the list of files, where it is not those that there are.</summary>
    public IReadOnlyList<string>? Names { get; set; }

    /// <summary>"GET /path" with its range, in order, of both hosts; the second one's paths begin with /storage.</summary>
    public ConcurrentQueue<string> Asked { get; } = new();

    /// <summary>The tokens that came to the second host: none should.</summary>
    public ConcurrentQueue<string> LeakedTokens { get; } = new();

    public static async Task<FakeHub> StartAsync(string repository = "org/model")
    {
        FakeHub hub = new(repository);
        await hub._storage.StartAsync();
        await hub._hub.StartAsync();
        return hub;
    }

    public FakeHub Add(string name, byte[] content, bool isLarge = false)
    {
        _files[name] = content;
        if (isLarge)
            Large.Add(name);
        return this;
    }

    public FakeHub Add(string name, string content) => Add(name, Encoding.UTF8.GetBytes(content));

    /// <summary>All files of a folder; those that end with .safetensors are large.</summary>
    public FakeHub AddFolder(string folder)
    {
        foreach (string file in Directory.EnumerateFiles(folder))
            Add(Path.GetFileName(file), File.ReadAllBytes(file), file.EndsWith(".safetensors", StringComparison.Ordinal));
        return this;
    }

    /// <summary>The name of a file's content.</summary>
    public string HashOf(string name) => Large.Contains(name)
        ? Convert.ToHexStringLower(SHA256.HashData(_files[name]))
#pragma warning disable CA5350 // git names its blobs so
        : Convert.ToHexStringLower(SHA1.HashData([.. Encoding.ASCII.GetBytes(string.Create(CultureInfo.InvariantCulture, $"blob {_files[name].Length}\0")), .. _files[name]]));
#pragma warning restore CA5350

    public int CountOf(string beginning) => Asked.Count(line => line.StartsWith(beginning, StringComparison.Ordinal));

    public async ValueTask DisposeAsync()
    {
        await _hub.DisposeAsync();
        await _storage.DisposeAsync();
    }

    private static WebApplication Build(RequestDelegate answer)
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(kestrel => kestrel.Listen(IPAddress.Loopback, 0));
        WebApplication app = builder.Build();
        app.Run(answer);
        return app;
    }

    private static string AddressOf(WebApplication app) => app.Services.GetRequiredService<IServer>().Features.Get<IServerAddressesFeature>()!.Addresses.Single();

    private async Task AnswerAsync(HttpContext context)
    {
        string path = context.Request.Path.Value!;
        Asked.Enqueue($"{context.Request.Method} {path}{Range(context)}");
        if (Intercept is { } intercept && await intercept(context))
            return;
        if (Token is not null && context.Request.Headers.Authorization != "Bearer " + Token)
        {
            context.Response.StatusCode = 401;
            return;
        }
        if (path.StartsWith("/api/models/", StringComparison.Ordinal))
        {
            await ListAsync(context, path);
            return;
        }
        string begin = $"/{Repository}/resolve/";
        string[] rest = path.StartsWith(begin, StringComparison.Ordinal) ? path[begin.Length..].Split('/', 2) : [];
        if (rest.Length != 2 || rest[0] != Commit && rest[0] != Revision || !_files.TryGetValue(rest[1], out byte[]? content))
        {
            Fail(context, 404, "EntryNotFound");
            return;
        }
        context.Response.Headers["X-Repo-Commit"] = Commit;
        if (Large.Contains(rest[1]))
        {
            context.Response.Headers["X-Linked-Etag"] = $"\"{HashOf(rest[1])}\"";
            context.Response.Headers["X-Linked-Size"] = content.Length.ToString(CultureInfo.InvariantCulture);
            context.Response.StatusCode = 302;
            context.Response.Headers.Location = $"{AddressOf(_storage)}/storage/{Uri.EscapeDataString(rest[1])}";
            return;
        }
        context.Response.Headers.ETag = $"\"{HashOf(rest[1])}\"";
        await SendAsync(context, rest[1], content);
    }

    private async Task StoreAsync(HttpContext context)
    {
        string name = Uri.UnescapeDataString(context.Request.Path.Value!["/storage/".Length..]);
        Asked.Enqueue($"{context.Request.Method} {context.Request.Path.Value}{Range(context)}");
        if (context.Request.Headers.Authorization.ToString() is { Length: > 0 } leaked)
            LeakedTokens.Enqueue(leaked);
        await SendAsync(context, name, _files[name]);
    }

    private async Task ListAsync(HttpContext context, string path)
    {
        if (path != $"/api/models/{Repository}/revision/{Revision}" && path != $"/api/models/{Repository}/revision/{Commit}")
        {
            Fail(context, 404, path.StartsWith($"/api/models/{Repository}/", StringComparison.Ordinal) ? "RevisionNotFound" : "RepoNotFound");
            return;
        }
        string json = JsonSerializer.Serialize(new { sha = Commit, siblings = (Names ?? [.. _files.Keys]).Select(name => new { rfilename = name }) });
        context.Response.ContentType = "application/json";
        await context.Response.WriteAsync(json);
    }

    private async Task SendAsync(HttpContext context, string name, byte[] content)
    {
        int from = 0;
        if (context.Request.GetTypedHeaders().Range?.Ranges.Single().From is { } asked)
        {
            if (asked >= content.Length)
            {
                context.Response.StatusCode = 416;
                return;
            }
            from = (int)asked;
            context.Response.StatusCode = 206;
            context.Response.Headers.ContentRange = string.Create(CultureInfo.InvariantCulture, $"bytes {from}-{content.Length - 1}/{content.Length}");
        }
        byte[] sent = Corrupt(name, content)[from..];
        context.Response.ContentLength = sent.Length;
        if (context.Request.Method == "HEAD")
            return;
        if (Cuts > 0 && sent.Length > CutAfter)
        {
            Cuts--;
            await context.Response.Body.WriteAsync(sent.AsMemory(0, CutAfter));
            await context.Response.Body.FlushAsync();
            await Task.WhenAny(Stall, Task.Delay(s_longestStall, context.RequestAborted));
            context.Abort();
            return;
        }
        await context.Response.Body.WriteAsync(sent);
    }

    private static string Range(HttpContext context) => context.Request.Headers.Range.ToString() is { Length: > 0 } range ? " " + range : "";

    private static void Fail(HttpContext context, int status, string code)
    {
        context.Response.StatusCode = status;
        context.Response.Headers["X-Error-Code"] = code;
    }
}
