using System.Collections.Frozen;
using System.IO.Compression;
using System.Reflection;
using System.Security.Cryptography;
using Grpc.Core;
using Microsoft.Extensions.Primitives;
using Microsoft.Net.Http.Headers;
using TpServe.Gateway.Requests;

namespace TpServe.Gateway.Api;

/// <summary>GET / and what it loads: the files of wwwroot, which lie in the program. Nothing of a request names a path of the host.</summary>
/// <remarks>
/// The page shows what models and strangers wrote, so the policy lets it run nothing but its own files: no inline script or style, no other host, and
/// text becomes markup only by DOMPurify (Trusted Types), also where a fault of the page's own code would let it.
/// </remarks>
internal static class PageFiles
{
    private const string Policy =
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
        + "require-trusted-types-for 'script'; trusted-types dompurify";

    private const string Root = "wwwroot/", Index = "index.html";

    private static readonly FrozenDictionary<string, string> s_types = new Dictionary<string, string>
    {
        [".html"] = "text/html; charset=utf-8",
        [".css"] = "text/css; charset=utf-8",
        [".js"] = "text/javascript; charset=utf-8",
        [".svg"] = "image/svg+xml",
        [".txt"] = "text/plain; charset=utf-8",
        [".md"] = "text/plain; charset=utf-8",
    }.ToFrozenDictionary();

    // Read and compressed when the first of them is asked for: a start costs nothing.
    private static readonly Lazy<FrozenDictionary<string, PageFile>> s_files = new(ReadAll);

    /// <summary>Answers /.</summary>
    public static Task IndexAsync(HttpContext http) => AnswerAsync(http, s_files.Value[Index]);

    /// <summary>Answers /page/{file}.</summary>
    /// <exception cref="RequestRejectedException">There is no such file.</exception>
    public static Task FileAsync(HttpContext http)
    {
        string name = http.Request.RouteValues["file"]?.ToString() ?? "";
        return name != Index && s_files.Value.TryGetValue(name, out PageFile? file)
            ? AnswerAsync(http, file)
            : throw new RequestRejectedException(StatusCode.NotFound, "ROUTE_NOT_FOUND", $"{http.Request.Method} {http.Request.Path} is not served here; GET / is the page.");
    }

    private static Task AnswerAsync(HttpContext http, PageFile file)
    {
        IHeaderDictionary headers = http.Response.Headers;
        bool isPacked = TakesGzip(http.Request);
        string tag = isPacked ? file.PackedTag : file.Tag;
        headers.ContentSecurityPolicy = Policy;
        headers.XContentTypeOptions = "nosniff";
        headers["Referrer-Policy"] = "no-referrer";
        headers["Cross-Origin-Opener-Policy"] = "same-origin";
        headers["Cross-Origin-Resource-Policy"] = "same-origin";
        headers.CacheControl = "no-cache"; // kept by browsers, and asked after: a new release is there at once
        headers.ETag = tag;
        headers.Vary = HeaderNames.AcceptEncoding;
        if (Matches(headers: http.Request.Headers.IfNoneMatch, tag))
        {
            http.Response.StatusCode = StatusCodes.Status304NotModified;
            return Task.CompletedTask;
        }
        byte[] bytes = isPacked ? file.Packed : file.Bytes;
        if (isPacked)
            headers.ContentEncoding = "gzip";
        http.Response.ContentType = file.Type;
        http.Response.ContentLength = bytes.Length;
        return HttpMethods.IsHead(http.Request.Method) ? Task.CompletedTask : http.Response.Body.WriteAsync(bytes, http.RequestAborted).AsTask();
    }

    private static bool TakesGzip(HttpRequest request) =>
        StringWithQualityHeaderValue.TryParseList(request.Headers.AcceptEncoding, out IList<StringWithQualityHeaderValue>? codings)
        && codings.Any(coding => coding.Value.Equals("gzip", StringComparison.OrdinalIgnoreCase) && coding.Quality is not 0);

    private static bool Matches(StringValues headers, string tag) =>
        EntityTagHeaderValue.TryParseList(headers, out IList<EntityTagHeaderValue>? known)
        && known.Any(one => one.Tag == "*" || one.Tag == tag);

    private static FrozenDictionary<string, PageFile> ReadAll()
    {
        Assembly program = typeof(PageFiles).Assembly;
        return program.GetManifestResourceNames().Where(name => name.StartsWith(Root, StringComparison.Ordinal))
            .ToFrozenDictionary(name => name[Root.Length..].Replace('\\', '/'), name => PageFile.Read(program.GetManifestResourceStream(name)!, s_types.GetValueOrDefault(Path.GetExtension(name), "text/plain; charset=utf-8")));
    }

    private sealed record PageFile(string Type, byte[] Bytes, byte[] Packed, string Tag, string PackedTag)
    {
        public static PageFile Read(Stream source, string type)
        {
            using MemoryStream bytes = new(), packed = new();
            using (source)
                source.CopyTo(bytes);
            using (GZipStream gzip = new(packed, CompressionLevel.SmallestSize, leaveOpen: true))
                gzip.Write(bytes.ToArray());
            string hash = Convert.ToHexStringLower(SHA256.HashData(bytes.ToArray()))[..32];
            return new PageFile(type, bytes.ToArray(), packed.ToArray(), $"\"{hash}\"", $"\"{hash}-gzip\"");
        }
    }
}
