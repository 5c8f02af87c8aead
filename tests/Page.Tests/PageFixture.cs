using System.Net.Http.Json;
using System.Text.Json;
using Microsoft.Playwright;
using NUnit.Framework;

namespace TpServe.Page.Tests;

/// <summary>One test, one visitor: a browser profile of its own, and the page in it. What the page's console complains of fails the test.</summary>
[Category("MultiProcess")]
public abstract class PageFixture
{
    private readonly List<string> _complaints = [];
    private IBrowserContext? _profile;

    /// <summary>The visitor's tab.</summary>
    protected IPage Page { get; private set; } = null!;

    /// <summary>Complaints that the test brings about: those that contain this are passed over.</summary>
    protected string? Expected { get; set; }

    [SetUp]
    public async Task Open()
    {
        _complaints.Clear();
        Expected = null;
        await OpenAsync(1440, 900);
    }

    [TearDown]
    public async Task Close()
    {
        await _profile!.DisposeAsync();
        Assert.That(_complaints.Where(line => Expected is null || !line.Contains(Expected, StringComparison.Ordinal)), Is.Empty);
    }

    /// <summary>A visitor with a window of this size, greedy and short answers, instead of the one before.</summary>
    protected async Task OpenAsync(int width, int height, ColorScheme scheme = ColorScheme.Light, bool go = true)
    {
        if (_profile is not null)
            await _profile.DisposeAsync();
        _profile = await OpenBrowser.Browser.NewContextAsync(new BrowserNewContextOptions
        {
            ViewportSize = new ViewportSize { Width = width, Height = height },
            ColorScheme = scheme,
            ReducedMotion = ReducedMotion.Reduce,
        });
        _profile.SetDefaultTimeout(10_000);
        await _profile.AddInitScriptAsync("localStorage.getItem('tpserve.settings') ?? localStorage.setItem('tpserve.settings', JSON.stringify({ system: '', temperature: 0, max_tokens: 24 }))");
        Page = await _profile.NewPageAsync();
        Page.Console += (_, message) =>
        {
            if (message.Type is "error" or "warning")
                _complaints.Add(message.Text);
        };
        Page.PageError += (_, fault) => _complaints.Add(fault);
        if (go)
            await GoAsync();
    }

    /// <summary>Goes to the page and waits until it has read what it keeps.</summary>
    protected async Task GoAsync()
    {
        await Page.GotoAsync(OpenBrowser.Address);
        await Assertions.Expect(Page.Locator("body[data-ready]")).ToBeAttachedAsync();
    }

    /// <summary>The answers shown.</summary>
    protected ILocator Answers => Page.Locator(".by-assistant");

    /// <summary>Sends a message and waits for the whole answer; its text.</summary>
    protected async Task<string> AskAsync(string text)
    {
        await Page.FillAsync("#prompt", text);
        await Page.PressAsync("#prompt", "Enter");
        return await AnsweredAsync();
    }

    /// <summary>What the server answers beside the page: greedily, as the page is told to.</summary>
    protected static async Task<string> AnswerOfAsync(params string[] messages)
    {
        using HttpResponseMessage response = await OpenBrowser.Http.PostAsJsonAsync(new Uri("/v1/chat/completions", UriKind.Relative), new
        {
            temperature = 0,
            max_tokens = 24,
            messages = messages.Select((content, at) => new { role = at % 2 == 0 ? "user" : "assistant", content }),
        });
        JsonElement answer = await response.Content.ReadFromJsonAsync<JsonElement>();
        return answer.GetProperty("choices")[0].GetProperty("message").GetProperty("content").GetString()!.Trim();
    }

    /// <summary>Waits until the last answer is whole; its text.</summary>
    protected async Task<string> AnsweredAsync()
    {
        ILocator last = Answers.Last;
        await Assertions.Expect(last.Locator(".figures")).ToContainTextAsync("tokens");
        return await last.Locator(".prose").InnerTextAsync();
    }

    /// <summary>Has the page's chats answered with this instead of the model.</summary>
    protected Task AnswerWithAsync(string content, string reasoning = "") => Page.RouteAsync("**/v1/chat/completions", route => route.FulfillAsync(new RouteFulfillOptions
    {
        ContentType = "text/event-stream",
        Body = Event(new { choices = new[] { new { index = 0, delta = new { role = "assistant", content = "", reasoning_content = reasoning } } }, model = "<b>model</b>" })
            + Event(new { choices = new[] { new { index = 0, delta = new { content }, finish_reason = "stop" } }, model = "<b>model</b>" })
            + Event(new { choices = Array.Empty<object>(), model = "<b>model</b>", usage = new { prompt_tokens = 3, completion_tokens = 5, total_tokens = 8 } }) + "data: [DONE]\n\n",
    }));

    private static string Event(object value) => $"data: {JsonSerializer.Serialize(value)}\n\n";
}
