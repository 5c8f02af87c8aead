using System.Globalization;
using Microsoft.AspNetCore.Http;
using NUnit.Framework;
using TpServe.Checkpoint.Hub;
using TpServe.Testing.Hub;

namespace TpServe.Checkpoint.Tests;

/// <summary>Downloads from a hub that redirects, cuts, limits, lies and is asked by several at once.</summary>
public sealed class HubDownloadTests
{
    private const string File_ = "m-Q8_0.gguf";
    private static readonly HubModelId s_id = new("org/model", "main", "Q8_0");
    private static readonly byte[] s_content = HubCase.Content(3 << 20, seed: 1);

    private ScratchFolder _cache = null!;
    private FakeHub _hub = null!;

    private HubOptions Options => HubCase.Options(_hub, _cache.Path);

    private string Blob => Path.Combine(_cache.Path, "models--org--model", "blobs", _hub.HashOf(File_));

    private string Placed => Path.Combine(_cache.Path, "models--org--model", "snapshots", _hub.Commit, File_);

    [SetUp]
    public async Task StartHub()
    {
        _cache = new ScratchFolder();
        _hub = (await FakeHub.StartAsync()).Add(File_, s_content, isLarge: true).Add("README.md", "text");
    }

    [TearDown]
    public async Task StopHub()
    {
        await _hub.DisposeAsync();
        _cache.Dispose();
    }

    [Test]
    public async Task Get_Fresh_LaysTheCacheAsHuggingFaceDoes()
    {
        HubModel model = await HubCase.GetAsync(Options, s_id);
        Assert.That(model.Path, Is.EqualTo(Placed));
        Assert.That(new FileInfo(Placed).LinkTarget, Is.EqualTo($"../../blobs/{_hub.HashOf(File_)}"));
        Assert.That(File.ReadAllBytes(Placed), Is.EqualTo(s_content));
        Assert.That(HubCase.Text(Path.Combine(_cache.Path, "models--org--model", "refs", "main")), Is.EqualTo(_hub.Commit));
        Assert.That(Directory.GetFiles(_cache.Path, "*.incomplete", SearchOption.AllDirectories), Is.Empty);
    }

    [Test]
    public async Task Get_WholeInTheCache_AsksNobody()
    {
        await HubCase.GetAsync(Options, s_id);
        int asked = _hub.Asked.Count;
        HubModel again = await HubCase.GetAsync(Options, s_id);
        HubModel offline = await HubCase.GetAsync(Options with { Offline = true, Endpoint = "http://127.0.0.1:9" }, s_id);
        Assert.That((_hub.Asked.Count, again.Path, offline.Path), Is.EqualTo((asked, Placed, Placed)));
    }

    [Test]
    public async Task Get_Token_StaysWithTheHub()
    {
        _hub.Token = "hf_secret";
        await HubCase.GetAsync(Options with { Token = "hf_secret" }, s_id);
        Assert.That(_hub.CountOf("GET /storage/"), Is.EqualTo(1), "the content came from another host");
        Assert.That(_hub.LeakedTokens, Is.Empty);
    }

    [Test]
    public async Task Get_ConnectionCutThreeTimes_GoesOnWhereItWas()
    {
        (_hub.CutAfter, _hub.Cuts) = (700_000, 3);
        List<string> notes = [];
        await HubCase.GetAsync(Options, s_id, progress: progress =>
        {
            if (progress.Note is { } note)
                notes.Add(note);
        });
        Assert.That(File.ReadAllBytes(Placed), Is.EqualTo(s_content));
        Assert.That(_hub.Asked.Where(line => line.StartsWith("GET /storage/", StringComparison.Ordinal)).Skip(1), Has.All.Contain(" bytes="));
        Assert.That(notes, Has.Count.EqualTo(3));
    }

    [Test]
    public async Task Get_LeftoverOfAnEarlierProcess_IsGoneOnWith()
    {
        Directory.CreateDirectory(Path.GetDirectoryName(Blob)!);
        File.WriteAllBytes(Blob + ".incomplete", s_content[..1_000_000]);
        await HubCase.GetAsync(Options, s_id);
        Assert.That(_hub.Asked, Does.Contain($"GET /storage/{File_} bytes=1000000-"));
        Assert.That(File.ReadAllBytes(Placed), Is.EqualTo(s_content));
    }

    [TestCase(1_000_000)]
    [TestCase(3 << 20)]
    [TestCase(4_000_000)]
    public async Task Get_LeftoverOfOtherContent_IsFetchedAnew(int bytes)
    {
        Directory.CreateDirectory(Path.GetDirectoryName(Blob)!);
        File.WriteAllBytes(Blob + ".incomplete", HubCase.Content(bytes, seed: 2));
        await HubCase.GetAsync(Options, s_id);
        Assert.That(File.ReadAllBytes(Placed), Is.EqualTo(s_content));
    }

    [Test]
    public async Task Get_Cancelled_LeavesWhatTheNextOneGoesOnWith()
    {
        using CancellationTokenSource ends = new();
        await Assert.CatchAsync<OperationCanceledException>(() => new HubModels(Options).GetAsync(s_id, false, progress =>
        {
            if (progress.DoneBytes > 0)
                ends.Cancel();
        }, ends.Token));
        long left = new FileInfo(Blob + ".incomplete").Length;
        Assert.That(left, Is.GreaterThan(0));
        await HubCase.GetAsync(Options, s_id);
        Assert.That(_hub.Asked, Does.Contain(string.Create(CultureInfo.InvariantCulture, $"GET /storage/{File_} bytes={left}-")));
        Assert.That(File.ReadAllBytes(Placed), Is.EqualTo(s_content));
    }

    [TestCase(true)]
    [TestCase(false)]
    public async Task Get_WrongHash_NamesTheFileAndRemovesIt(bool isLarge)
    {
        string name = isLarge ? File_ : "m-Q2_K.gguf";
        _hub.Add("m-Q2_K.gguf", "small content, which git names");
        _hub.Corrupt = (_, bytes) => [.. bytes[..^1], (byte)(bytes[^1] ^ 1)];
        HubException fault = await HubCase.FailAsync(Options, s_id with { Selection = name });
        Assert.That(fault.Fault, Is.EqualTo(HubFault.Damaged));
        Assert.That(fault.Message, Does.Contain(name).And.Contain(_hub.HashOf(name)));
        Assert.That(Directory.GetFiles(Path.Combine(_cache.Path, "models--org--model"), "*", SearchOption.AllDirectories), Is.Empty);
    }

    [Test]
    public async Task Get_OtherSizeThanAnnounced_IsRefused()
    {
        _hub.Corrupt = (_, bytes) => bytes[..^1];
        HubException fault = await HubCase.FailAsync(Options, s_id);
        Assert.That((fault.Fault, fault.Message), Is.EqualTo((HubFault.Damaged, fault.Message)));
        Assert.That(fault.Message, Does.Contain($"{s_content.Length - 1} bytes come where {s_content.Length} are announced"));
    }

    [TestCase("", 401, HubFault.Forbidden, "set HF_TOKEN")]
    [TestCase("GatedRepo", 401, HubFault.Forbidden, "accept them at ")]
    [TestCase("GatedRepo", 403, HubFault.Forbidden, "/org/model and set HF_TOKEN")]
    [TestCase("RepoNotFound", 404, HubFault.NotFound, "there is no repository org/model at ")]
    [TestCase("RevisionNotFound", 404, HubFault.NotFound, "no revision 'main'")]
    [TestCase("", 404, HubFault.NotFound, "no repository org/model with a revision 'main'")]
    [TestCase("", 418, HubFault.Refused, "answers 418")]
    [TestCase("", 503, HubFault.Unreachable, "answers 503")]
    public async Task Get_RefusedByTheHub_SaysWhatToDo(string code, int status, HubFault expected, string words)
    {
        _hub.Intercept = context => Answer(context, status, ("X-Error-Code", code));
        HubException fault = await HubCase.FailAsync(Options, s_id);
        Assert.That(fault.Fault, Is.EqualTo(expected));
        Assert.That(fault.Message, Does.Contain(words));
        Assert.That(_hub.Asked, Has.Count.EqualTo(status == 503 ? 4 : 1));
    }

    [Test]
    public async Task Get_FileThatIsListedAndNotThere_IsNamed()
    {
        _hub.Names = ["gone-Q8_0.gguf"];
        HubException fault = await HubCase.FailAsync(Options, s_id);
        Assert.That((fault.Fault, fault.Message), Is.EqualTo((HubFault.NotFound, $"org/model at main has no file 'gone-Q8_0.gguf' at {_hub.Address}/.")));
    }

    [Test]
    public async Task Get_TooManyRequests_WaitsAsLongAsTheHubSays()
    {
        int refused = 0;
        _hub.Intercept = context => refused++ < 2 ? Answer(context, 429, ("Retry-After", "0")) : Task.FromResult(false);
        await HubCase.GetAsync(Options, s_id);
        _hub.Intercept = context => Answer(context, 429, ("Retry-After", "3600"));
        HubException fault = await HubCase.FailAsync(Options, s_id with { Selection = null, Revision = "other" });
        Assert.That(fault.Message, Does.Contain("asked again in 3600 s"));
    }

    [TestCase("/api/models/org/model/revision/main", "leads on more than 5 times")]
    [TestCase("ftp://127.0.0.1/x", "nothing but http and https")]
    public async Task Get_RedirectThatLeadsNowhere_IsRefused(string location, string words)
    {
        _hub.Intercept = context => Answer(context, 302, ("Location", location));
        HubException fault = await HubCase.FailAsync(Options, s_id);
        Assert.That(fault.Fault, Is.EqualTo(HubFault.Refused));
        Assert.That(fault.Message, Does.Contain(words));
    }

    [TestCase("")]
    [TestCase("[]")]
    [TestCase("{}")]
    [TestCase("""{"sha":"main","siblings":[]}""")]
    [TestCase("""{"sha":"../../../x","siblings":[]}""")]
    [TestCase("""{"sha":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","siblings":{}}""")]
    [TestCase("""{"sha":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","siblings":[{"rfilename":1}]}""")]
    [TestCase("{\"sha\":[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[")]
    public async Task Get_ListThatIsNone_IsRefused(string json)
    {
        _hub.Intercept = async context =>
        {
            await context.Response.WriteAsync(json);
            return true;
        };
        Assert.That((await HubCase.FailAsync(Options, s_id)).Fault, Is.EqualTo(HubFault.Refused));
    }

    [Test]
    public async Task Get_Offline_SaysWhatWasLookedForAndWhere()
    {
        HubException fault = await HubCase.FailAsync(Options with { Offline = true }, s_id);
        Assert.That(fault.Fault, Is.EqualTo(HubFault.Offline));
        Assert.That(fault.Message, Does.Contain("org/model:Q8_0").And.Contain(_cache.Path));
        Assert.That(_hub.Asked, Is.Empty);
    }

    [Test]
    public async Task Get_HubThatIsGone_TakesWhatTheCacheHas()
    {
        HubModelId any = s_id with { Selection = null };
        await HubCase.GetAsync(Options, any);
        HubOptions gone = Options with { Endpoint = "http://127.0.0.1:9", Retries = 1 };
        Assert.That((await HubCase.GetAsync(gone, any)).Note, Does.Contain("cannot be reached"));
        HubException fault = await HubCase.FailAsync(gone, any with { Repository = "org/other" });
        Assert.That(fault.Message, Does.Contain($"org/other is not in the cache {_cache.Path}").And.Contain("http://127.0.0.1:9"));
        Assert.That((await HubCase.FailAsync(gone, any, refresh: true)).Fault, Is.EqualTo(HubFault.Unreachable));
    }

    [Test]
    public async Task Get_RevisionThatMoved_IsFollowedWhenAskedAndSharesWhatStayed()
    {
        string first = _hub.Commit;
        await HubCase.GetAsync(Options, s_id);
        _hub.Commit = new string('b', 40);
        Assert.That((await HubCase.GetAsync(Options, s_id)).Commit, Is.EqualTo(first));
        Assert.That((await HubCase.GetAsync(Options, s_id, refresh: true)).Commit, Is.EqualTo(_hub.Commit));
        Assert.That(_hub.CountOf("GET /storage/"), Is.EqualTo(1), "the content is the same");
        Assert.That((await HubCase.GetAsync(Options with { Offline = true }, s_id with { Revision = first })).Commit, Is.EqualTo(first));
    }

    [Test]
    public async Task Get_BranchTagAndCommit_AreRevisions()
    {
        _hub.Revision = "v1.0";
        Assert.That((await HubCase.GetAsync(Options, s_id with { Revision = "v1.0" })).Path, Is.EqualTo(Placed));
        Assert.That((await HubCase.GetAsync(Options, s_id with { Revision = _hub.Commit })).Path, Is.EqualTo(Placed));
        Assert.That((await HubCase.FailAsync(Options, s_id)).Fault, Is.EqualTo(HubFault.NotFound));
    }

    [Test]
    public async Task Get_WithoutLinks_HoldsTheFilesThemselves()
    {
        HubOptions plain = Options with { Links = false };
        await HubCase.GetAsync(plain, s_id);
        Assert.That(new FileInfo(Placed).LinkTarget, Is.Null);
        Assert.That(File.ReadAllBytes(Placed), Is.EqualTo(s_content));
        Assert.That(Directory.GetFiles(Path.GetDirectoryName(Blob)!), Is.Empty);
        Assert.That((await HubCase.GetAsync(plain with { Offline = true }, s_id)).Path, Is.EqualTo(Placed));
    }

    [Test]
    public async Task Get_BlobThatWasTakenAway_IsFetchedAgain()
    {
        await HubCase.GetAsync(Options, s_id);
        File.Delete(Blob);
        Assert.That((await HubCase.FailAsync(Options with { Offline = true }, s_id)).Fault, Is.EqualTo(HubFault.Offline));
        await HubCase.GetAsync(Options, s_id);
        Assert.That(File.ReadAllBytes(Placed), Is.EqualTo(s_content));
    }

    [TestCase(true)]
    [TestCase(false)]
    public async Task Get_FourAtOnce_FetchOnce(bool links)
    {
        HubModel[] models = await Task.WhenAll(Enumerable.Range(0, 4).Select(_ => Task.Run(() => HubCase.GetAsync(Options with { Links = links }, s_id))));
        Assert.That(models.Select(model => model.Path), Has.All.EqualTo(Placed));
        Assert.That(_hub.CountOf("GET /storage/"), Is.EqualTo(1));
        Assert.That(File.ReadAllBytes(Placed), Is.EqualTo(s_content));
    }

    [Test]
    public async Task Get_LockOfAProcessThatStandsStill_IsNotWaitedForForever()
    {
        string lockFile = new HubCache(_cache.Path).Lock("org/model", _hub.HashOf(File_));
        Directory.CreateDirectory(Path.GetDirectoryName(lockFile)!);
        using (new FileStream(lockFile, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None))
            Assert.That((await HubCase.FailAsync(Options with { Patience = TimeSpan.FromMilliseconds(200) }, s_id)).Fault, Is.EqualTo(HubFault.Busy));
        Assert.That((await HubCase.GetAsync(Options, s_id)).Path, Is.EqualTo(Placed), "the file alone is no lock");
    }

    [Test]
    public async Task Get_DiskWithoutRoom_SaysSoBeforeItFetches()
    {
        HubException fault = await HubCase.FailAsync(Options with { FreeBytes = _ => 65 << 20 }, s_id);
        Assert.That(fault.Fault, Is.EqualTo(HubFault.Disk));
        Assert.That(fault.Message, Does.Contain("needs 3.0 MiB").And.Contain("65.0 MiB free"));
        Assert.That(_hub.CountOf("GET /storage/"), Is.Zero);
    }

    [TestCase("ftp://hub")]
    [TestCase("hub")]
    [TestCase("http://user@hub")]
    public async Task Get_EndpointThatIsNone_IsNamed(string endpoint) =>
        Assert.That((await HubCase.FailAsync(Options with { Endpoint = endpoint }, s_id)).Message, Does.Contain("HF_ENDPOINT"));

    private static Task<bool> Answer(HttpContext context, int status, params (string Name, string Value)[] headers)
    {
        context.Response.StatusCode = status;
        foreach ((string name, string value) in headers)
            if (value.Length > 0)
                context.Response.Headers[name] = value;
        return Task.FromResult(true);
    }
}
