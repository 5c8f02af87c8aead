using System.Text;
using NUnit.Framework;
using TpServe.Checkpoint.Hub;
using TpServe.Testing.Hub;

namespace TpServe.Checkpoint.Tests;

/// <summary>A hub's client as tests have it: short pauses, a cache of its own, and nothing longer than <see cref="Limit"/>.</summary>
internal static class HubCase
{
    public static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);

    public static HubOptions Options(FakeHub hub, string cache) => new()
    {
        Cache = cache,
        Endpoint = hub.Address,
        Retries = 3,
        RetryDelay = TimeSpan.FromMilliseconds(1),
        LongestDelay = TimeSpan.FromSeconds(5),
        Patience = TimeSpan.FromSeconds(5),
    };

    public static async Task<HubModel> GetAsync(HubOptions options, HubModelId id, bool refresh = false, Action<HubProgress>? progress = null)
    {
        using CancellationTokenSource limit = new(Limit);
        return await new HubModels(options).GetAsync(id, refresh, progress ?? (_ => { }), limit.Token);
    }

    public static Task<HubModel> GetAsync(FakeHub hub, string cache, HubModelId id) => GetAsync(Options(hub, cache), id);

    public static Task<HubException> FailAsync(FakeHub hub, string cache, HubModelId id) => FailAsync(Options(hub, cache), id);

    public static async Task<HubException> FailAsync(HubOptions options, HubModelId id, bool refresh = false)
    {
        try
        {
            await GetAsync(options, id, refresh);
        }
        catch (HubException fault)
        {
            return fault;
        }
        throw new AssertionException($"{id} came, where it should not.");
    }

    public static byte[] Content(int bytes, int seed)
    {
        byte[] content = new byte[bytes];
        new Random(seed).NextBytes(content);
        return content;
    }

    /// <summary>A file as text.</summary>
    public static string Text(string path) => Encoding.UTF8.GetString(File.ReadAllBytes(path));
}
