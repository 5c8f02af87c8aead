using Microsoft.Playwright;
using NUnit.Framework;
using TpServe.EndToEnd.Tests;

namespace TpServe.Page.Tests;

/// <summary>The one server and the one browser of this assembly: the tracked model on two workers, and Debian's chromium.</summary>
[SetUpFixture]
public sealed class OpenBrowser
{
    private const string Program = "/usr/bin/chromium";

    private static ServerProcess? s_server;
    private static IPlaywright? s_playwright;
    private static IBrowser? s_browser;

    /// <summary>Where the page is.</summary>
    public static string Address => $"http://127.0.0.1:{s_server!.HttpPort}/";

    /// <summary>Calls beside the browser.</summary>
    public static HttpClient Http => s_server!.Http;

    /// <summary>The browser.</summary>
    public static IBrowser Browser => s_browser!;

    [OneTimeSetUp]
    public async Task Start()
    {
        if (!File.Exists(Program))
            Assert.Ignore($"{Program} is not installed.");
        Task<ServerProcess> server = ServerProcess.StartAsync();
        s_playwright = await Playwright.CreateAsync();
        s_browser = await s_playwright.Chromium.LaunchAsync(new BrowserTypeLaunchOptions { ExecutablePath = Program, Args = ["--no-sandbox"], Timeout = 30_000 });
        s_server = await server;
    }

    [OneTimeTearDown]
    public async Task Stop()
    {
        if (s_browser is not null)
            await s_browser.DisposeAsync();
        s_playwright?.Dispose();
        if (s_server is not null)
            await s_server.DisposeAsync();
    }
}
