using System.Net;
using Microsoft.Playwright;
using NUnit.Framework;
using static Microsoft.Playwright.Assertions;

namespace TpServe.Page.Tests;

/// <summary>What a model, a file or a stranger wrote runs nothing, loads nothing and leads nowhere; a key is asked for where it is needed.</summary>
public sealed class HostileTests : PageFixture
{
    private const string Payloads = """
        <script>window.ran = 1</script> <img src=x onerror="window.ran = 2"> <svg/onload="window.ran = 3"> <iframe srcdoc="<script>parent.ran = 4</script>"></iframe>
        [a](javascript:window.ran=5) [b](JaVaScRiPt:window.ran=6) [c](data:text/html,<script>window.ran=7</script>) <a href="vbscript:x">d</a>
        ![steal](https://example.invalid/pixel?secret) <style>body{display:none}</style> <base href="https://example.invalid/"> <form action="https://example.invalid/"><button>go</button></form>
        <math><mtext><table><mglyph><style><!--</style><img title="--&gt;&lt;img src=1 onerror=window.ran=8&gt;"></table></mtext></math>
        <div id="messages" name="nodes" class="fault" style="position:fixed;inset:0">cover</div>

        ```html"><img src=x onerror=window.ran=9>
        <script>window.ran = 10</script>
        ```

        ```js
        document.write("<img src=x onerror=window.ran=11>")
        ```

        | <img src=x onerror=window.ran=12> | [x](javascript:alert(1)) |
        | --- | --- |
        | <b onmouseover=window.ran=13>b</b> | `<script>window.ran=14</script>` |
        """;

    [Test]
    public async Task Answer_FullOfPayloads_IsOnlyText()
    {
        List<string> asked = [];
        Page.Request += (_, request) => asked.Add(request.Url);
        await AnswerWithAsync(Payloads, reasoning: "<img src=x onerror=window.ran=20>");
        await AskAsync("<img src=x onerror=window.ran=21> hello");
        await Expect(Page.Locator(".code-frame").First).ToBeVisibleAsync();
        await Page.Locator(".thought summary").ClickAsync();
        await AssertInertAsync();
        Assert.That(asked.Where(url => !url.StartsWith(OpenBrowser.Address, StringComparison.Ordinal)), Is.Empty);
        await Expect(Answers.Last.Locator(".who")).ToHaveTextAsync("<b>model</b>");
    }

    [Test]
    public async Task File_FullOfPayloads_IsReadAsText()
    {
        string payload = "<img src=x onerror='window.ran = 1'>";
        string file = System.Text.Json.JsonSerializer.Serialize(new
        {
            format = "tpserve-conversations",
            conversations = new object[]
            {
                new
                {
                    id = "__proto__",
                    title = payload,
                    settings = new { system = payload, temperature = "<b>" },
                    nodes = new object[]
                    {
                        new { chosen = 1 },
                        new { parent = 0, role = "user", content = payload, chosen = 2 },
                        new { parent = 1, role = "assistant", content = Payloads, reasoning = payload, model = payload, fault = payload, tokens = Array.Empty<object>() },
                    },
                },
            },
        });
        await Page.SetInputFilesAsync("#import-file", new FilePayload { Name = "x.json", MimeType = "application/json", Buffer = System.Text.Encoding.UTF8.GetBytes(file) });
        await Expect(Page.Locator("#conversations .is-current .open")).ToHaveTextAsync(payload);
        await AssertInertAsync();
        await GoAsync();
        await Expect(Page.Locator("#conversations .is-current .open")).ToHaveTextAsync(payload);
        await AssertInertAsync();
    }

    [Test]
    public async Task File_ThatIsNone_IsRefusedInOneLine()
    {
        foreach ((string text, string reason) in new[]
        {
            ("no JSON", "not JSON"),
            ("{\"format\":\"other\"}", "no conversations"),
            ("{\"format\":\"tpserve-conversations\",\"conversations\":[{\"nodes\":[{},{\"role\":\"system\",\"parent\":0}]}]}", "Message 1"),
            ("{\"format\":\"tpserve-conversations\",\"conversations\":[{\"nodes\":[{},{\"role\":\"user\",\"parent\":0},{\"role\":\"user\",\"parent\":5}]}]}", "Message 2"),
        })
        {
            await Page.SetInputFilesAsync("#import-file", new FilePayload { Name = "x.json", MimeType = "application/json", Buffer = System.Text.Encoding.UTF8.GetBytes(text) });
            await Expect(Page.Locator("#notice")).ToContainTextAsync(reason);
        }
    }

    [Test]
    public async Task Policy_InlineScriptAndStrayMarkup_AreRefusedByTheBrowser()
    {
        Expected = "";
        Assert.That(await Page.EvaluateAsync<bool>("""
            () => {
              const script = document.createElement('script');
              try { script.textContent = 'window.ran = 1'; document.body.append(script); } catch { }
              try { document.body.insertAdjacentHTML('beforeend', '<img src=x onerror="window.ran = 2">'); return false; } catch { return window.ran === undefined; }
            }
            """));
    }

    [Test]
    public async Task Key_WhereItIsNeeded_IsAskedForKeptAndSent()
    {
        Expected = "401";
        await OpenAsync(1440, 900, go: false);
        foreach (string path in new[] { "**/info", "**/load", "**/topology", "**/v1/**" })
            await Page.RouteAsync(path, async route =>
            {
                if (await route.Request.HeaderValueAsync("authorization") == "Bearer tps-secret")
                    await route.ContinueAsync();
                else
                    await route.FulfillAsync(new RouteFulfillOptions { Status = 401, ContentType = "application/json", Body = """{"error":{"message":"A key is needed."}}""" });
            });
        await GoAsync();
        await Expect(Page.Locator("#key-reason")).ToHaveTextAsync("A key is needed.");
        await Page.FillAsync("#key", "tps-secret");
        await Page.PressAsync("#key", "Enter");
        await Expect(Page.Locator("#served")).ToContainTextAsync("SmolLM2");
        Assert.That(await AskAsync("What is the capital of France?"), Is.EqualTo(await AnswerOfAsync("What is the capital of France?")));
        await GoAsync();
        await Expect(Page.Locator("#served")).ToContainTextAsync("SmolLM2");
        await Expect(Page.Locator("#key-dialog")).ToBeHiddenAsync();
    }

    [Test]
    public async Task Files_OverHttp_AreKeptByTagAndCarryThePolicy()
    {
        using HttpResponseMessage page = await OpenBrowser.Http.GetAsync(new Uri("/", UriKind.Relative));
        Assert.That(page.Content.Headers.ContentType!.MediaType, Is.EqualTo("text/html"));
        string policy = string.Join(' ', page.Headers.GetValues("Content-Security-Policy"));
        Assert.That(policy, Does.Contain("default-src 'none'").And.Contain("require-trusted-types-for 'script'").And.Not.Contain("unsafe").And.Not.Contain("*"));
        using HttpRequestMessage again = new(HttpMethod.Get, "/") { Headers = { { "If-None-Match", page.Headers.ETag!.Tag } } };
        using HttpResponseMessage same = await OpenBrowser.Http.SendAsync(again);
        Assert.That(same.StatusCode, Is.EqualTo(HttpStatusCode.NotModified));
        using HttpRequestMessage packed = new(HttpMethod.Get, "/page/vendor/highlight.js") { Headers = { { "Accept-Encoding", "gzip" } } };
        using HttpResponseMessage small = await OpenBrowser.Http.SendAsync(packed);
        Assert.That((small.Content.Headers.ContentEncoding.Single(), (await small.Content.ReadAsByteArrayAsync()).Length), Is.EqualTo(("gzip", (int)small.Content.Headers.ContentLength!)));
        foreach (string path in new[] { "/page/", "/page/nothing.js", "/page/index.html", "/page/../appsettings.json", "/page/%2e%2e/%2e%2e/etc/passwd" })
        {
            using HttpResponseMessage none = await OpenBrowser.Http.GetAsync(new Uri(path, UriKind.Relative));
            Assert.That(none.StatusCode, Is.EqualTo(HttpStatusCode.NotFound), path);
        }
    }

    private async Task AssertInertAsync()
    {
        Assert.That(await Page.EvaluateAsync<string>("""
            () => JSON.stringify({
              ran: window.ran ?? null,
              foreign: [...document.querySelectorAll('#messages :is(script, img, iframe, style, form, base, math, object, embed, [style], [id]), #messages svg:not(.icon)')].map(one => one.outerHTML.slice(0, 80)),
              handlers: [...document.querySelectorAll('#messages *')].flatMap(one => [...one.attributes]).filter(one => one.name.startsWith('on')).length,
              links: [...document.querySelectorAll('#messages a')].filter(one => one.href && (!/^(https?|mailto):/.test(one.href) || one.rel !== 'noopener noreferrer nofollow')).map(one => one.href),
            })
            """), Is.EqualTo("""{"ran":null,"foreign":[],"handlers":0,"links":[]}"""));
        await Expect(Page.Locator("#chat")).ToBeVisibleAsync();
    }
}
