using System.Net.Http.Headers;
using Grpc.Core;
using TpServe.Gateway.Access;
using TpServe.Gateway.Requests;
using TpServe.Gateway.Tests.Api;

namespace TpServe.Gateway.Tests.Access;

/// <summary>A keys file that goes with the test.</summary>
internal sealed class ScratchKeys : IDisposable
{
    private readonly string _folder = Directory.CreateTempSubdirectory("tpserve-keys-").FullName;

    public string Path => System.IO.Path.Combine(_folder, "keys.json");

    /// <summary>Settings of a server that asks for them.</summary>
    public ServingSettings Settings => ApiFixture.Settings with { KeysFile = Path };

    /// <summary>Adds a key; its text.</summary>
    public string Add(string name, KeyScope scope = KeyScope.Generate, KeyLimits? limits = null)
    {
        string text = AccessKey.NewText();
        KeyFile.Change(Path, keys => [.. keys.Where(key => key.Name != name), new AccessKey(name, scope, AccessKey.HashOf(text), DateTimeOffset.UnixEpoch, limits ?? new KeyLimits())]);
        return text;
    }

    public void Remove(string name) => KeyFile.Change(Path, keys => [.. keys.Where(key => key.Name != name)]);

    /// <summary>What a gRPC client sends with a call.</summary>
    public static Metadata Bearer(string key) => new() { { "authorization", "Bearer " + key } };

    /// <summary>What an HTTP client sends with a call.</summary>
    public static void Use(ApiFixture api, string key) => api.Http.DefaultRequestHeaders.Authorization = new AuthenticationHeaderValue("Bearer", key);

    public void Dispose() => Directory.Delete(_folder, recursive: true);
}
