using Microsoft.Playwright;
using NUnit.Framework;
using static Microsoft.Playwright.Assertions;

namespace TpServe.Page.Tests;

/// <summary>A conversation with the real model: asked, stopped, asked again, edited, kept.</summary>
public sealed class ChatTests : PageFixture
{
    [Test]
    public async Task Chat_AMessage_IsAnsweredPieceByPiece()
    {
        await Page.EvaluateAsync("""
            window.lengths = new Set();
            new MutationObserver(() => window.lengths.add(document.querySelector('.by-assistant .prose')?.textContent.length ?? 0)).observe(document.getElementById('messages'), { childList: true, subtree: true, characterData: true });
            """);
        string answer = await AskAsync("What is the capital of France?");
        Assert.That(answer, Is.EqualTo(await AnswerOfAsync("What is the capital of France?")));
        Assert.That(await Page.EvaluateAsync<int>("window.lengths.size"), Is.GreaterThan(4), "one update for all would be no stream");
        await Expect(Page.Locator("#conversations .open")).ToHaveTextAsync("What is the capital of France?");
        await Expect(Page.Locator("#served")).ToContainTextAsync("SmolLM2");
    }

    [Test]
    public async Task Chat_SecondMessage_CarriesTheFirst()
    {
        string first = await AskAsync("What is the capital of France?");
        Assert.That(await AskAsync("And of Italy?"), Is.EqualTo(await AnswerOfAsync("What is the capital of France?", first, "And of Italy?")));
    }

    [Test]
    public async Task Stop_InTheMiddle_KeepsWhatCameAndFreesTheServer()
    {
        await Page.ClickAsync("#toggle-settings");
        await Page.FillAsync("#set-max_tokens", "2000");
        await Page.FillAsync("#prompt", "Tell me a very long story about a ship.");
        await Page.PressAsync("#prompt", "Enter");
        await Expect(Answers.Last.Locator(".prose")).ToContainTextAsync(new System.Text.RegularExpressions.Regex("\\w{3}"));
        await Page.ClickAsync("#send[aria-label='Stop the answer']");
        await Expect(Answers.Last.Locator(".figures")).ToContainTextAsync("stopped");
        Assert.That(await Answers.Last.Locator(".prose").InnerTextAsync(), Is.Not.Empty);
        await Expect(Page.Locator("#send")).ToHaveAttributeAsync("aria-label", "Send");
        Assert.That(await AskAsync("What is the capital of France?"), Is.Not.Empty);
    }

    [Test]
    public async Task Regenerate_AnAnswer_IsAnotherVersionOfIt()
    {
        string first = await AskAsync("What is the capital of France?");
        await Answers.Last.GetByLabel("Answer again").ClickAsync();
        await Expect(Answers.Last.Locator(".place")).ToHaveTextAsync("2/2");
        Assert.That(await AnsweredAsync(), Is.EqualTo(first), "greedy");
        await Answers.Last.GetByLabel("Previous version").ClickAsync();
        await Expect(Answers.Last.Locator(".place")).ToHaveTextAsync("1/2");
    }

    [Test]
    public async Task Edit_AMessage_BranchesAndTheOldBranchStays()
    {
        string paris = await AskAsync("What is the capital of France?");
        await Page.Locator(".by-user").GetByLabel("Edit and ask again").ClickAsync();
        await Page.GetByLabel("Your message").FillAsync("What is the capital of Italy?");
        await Page.PressAsync("textarea[aria-label='Your message']", "Control+Enter");
        await Expect(Page.Locator(".by-user .place")).ToHaveTextAsync("2/2");
        Assert.That(await AnsweredAsync(), Is.EqualTo(await AnswerOfAsync("What is the capital of Italy?")));
        await Page.Locator(".by-user").GetByLabel("Previous version").ClickAsync();
        await Expect(Page.Locator(".by-user .said")).ToHaveTextAsync("What is the capital of France?");
        Assert.That(await Answers.Last.Locator(".prose").InnerTextAsync(), Is.EqualTo(paris));
    }

    [Test]
    public async Task Reload_AfterAChat_FindsItAndItsBranches()
    {
        string answer = await AskAsync("What is the capital of France?");
        await Answers.Last.GetByLabel("Answer again").ClickAsync();
        await Expect(Answers.Last.Locator(".place")).ToHaveTextAsync("2/2");
        await AnsweredAsync();
        await GoAsync();
        await Expect(Answers.Last.Locator(".place")).ToHaveTextAsync("2/2");
        Assert.That(await Answers.Last.Locator(".prose").InnerTextAsync(), Is.EqualTo(answer));
        await Expect(Page.Locator("#conversations li")).ToHaveCountAsync(1);
    }

    [Test]
    public async Task Tokens_WithLogprobs_ShowWhatElseCouldStandThere()
    {
        await Page.ClickAsync("#toggle-settings");
        await Page.CheckAsync("#logprobs");
        string answer = await AskAsync("What is the capital of France?");
        ILocator tokens = Answers.Last.Locator(".token");
        Assert.That(await tokens.CountAsync(), Is.GreaterThan(5));
        Assert.That(string.Concat(await tokens.AllTextContentsAsync()), Does.StartWith(answer[..10]));
        await tokens.Nth(2).HoverAsync();
        ILocator popover = Page.Locator("#token-popover");
        await Expect(popover.Locator("li")).ToHaveCountAsync(5);
        await Expect(popover).ToContainTextAsync("%");
        await tokens.First.FocusAsync();
        await Page.Keyboard.PressAsync("ArrowRight");
        await Expect(tokens.Nth(1)).ToBeFocusedAsync();
        await Expect(popover).ToBeVisibleAsync();
        await Answers.Last.GetByLabel("Show tokens").ClickAsync();
        await Expect(Answers.Last.Locator(".token")).ToHaveCountAsync(0);
    }

    [Test]
    public async Task Conversations_RenamedExportedDeletedImported_AreWhatTheyWere()
    {
        string answer = await AskAsync("What is the capital of France?");
        await Page.Locator("#conversations .is-current").HoverAsync();
        await Page.Locator("#conversations").GetByLabel("Rename What is").ClickAsync();
        await Page.FillAsync(".rename", "Capitals");
        await Page.PressAsync(".rename", "Enter");
        await Expect(Page.Locator("#conversations .open")).ToHaveTextAsync("Capitals");

        IDownload download = await Page.RunAndWaitForDownloadAsync(() => Page.ClickAsync("#export-all"));
        string file = Path.Combine(Path.GetTempPath(), $"tpserve-page-{Guid.NewGuid():N}.json");
        await download.SaveAsAsync(file);
        try
        {
            await Page.Locator("#conversations .is-current").HoverAsync();
            await Page.Locator("#conversations").GetByLabel("Delete Capitals").ClickAsync();
            await Page.ClickAsync("#confirm-yes");
            await Expect(Page.Locator("#conversations .open")).ToHaveTextAsync("New conversation");
            await Expect(Page.Locator("#welcome")).ToBeVisibleAsync();

            await Page.SetInputFilesAsync("#import-file", file);
            await Expect(Page.Locator("#conversations .is-current .open")).ToHaveTextAsync("Capitals");
            Assert.That(await Answers.Last.Locator(".prose").InnerTextAsync(), Is.EqualTo(answer));
        }
        finally
        {
            File.Delete(file);
        }
    }

    [Test]
    public async Task Settings_OutOfRange_AreToldInTheServersWords()
    {
        Expected = "400";
        await Page.ClickAsync("#toggle-settings");
        await Page.FillAsync("#set-top_p", "3");
        await Page.FillAsync("#prompt", "Hello");
        await Page.PressAsync("#prompt", "Enter");
        await Expect(Answers.Last.Locator(".fault")).ToContainTextAsync("top_p");
        await Page.FillAsync("#set-top_p", "1");
        await Page.PressAsync("#set-top_p", "Tab");
        await Answers.Last.GetByText("Try again").ClickAsync();
        await AnsweredAsync();
        await Expect(Page.Locator(".place")).ToHaveCountAsync(0);
    }

    [Test]
    public async Task Stream_ThatBreaks_IsTakenUpAgainWhereItWasAndSaysSo()
    {
        TaskCompletionSource<string> again = new(TaskCreationOptions.RunContinuationsAsynchronously), back = new(TaskCreationOptions.RunContinuationsAsynchronously);
        await Page.RouteAsync("**/v1/chat/completions", async route =>
        {
            string? last = await route.Request.HeaderValueAsync("last-event-id");
            if (last is not null)
            {
                again.TrySetResult(last);
                await back.Task.WaitAsync(TimeSpan.FromSeconds(10));
            }
            await route.FulfillAsync(new RouteFulfillOptions { ContentType = "text/event-stream", Body = last is null ? Piece(1, "One, ") + Piece(2, "two, ") + "data: {\"choices\":[{\"ind" : Piece(3, "three.", "\"stop\"") + "data: [DONE]\n\n" });
        });
        await Page.FillAsync("#prompt", "Count.");
        await Page.PressAsync("#prompt", "Enter");
        await Expect(Answers.Last.Locator(".resuming")).ToContainTextAsync("The connection was lost");
        Assert.That(await again.Task.WaitAsync(TimeSpan.FromSeconds(10)), Is.EqualTo("r:2"), "the last event that came whole");
        back.SetResult("");
        await Expect(Answers.Last.Locator(".prose")).ToHaveTextAsync("One, two, three.");
        await Expect(Answers.Last.Locator(".resuming")).ToHaveCountAsync(0);
        await Expect(Answers.Last.Locator(".fault")).ToHaveCountAsync(0);

        static string Piece(int id, string content, string finish = "null") => $$"""data: {"model":"m","choices":[{"index":0,"delta":{"content":"{{content}}"},"finish_reason":{{finish}}}]}""" + $"\nid: r:{id}\n\n";
    }

    [Test]
    public async Task Stream_ThatTheServerHasNoMore_EndsWithWhatCameAndWhy()
    {
        Expected = "404";
        await Page.RouteAsync("**/v1/chat/completions", async route => await route.FulfillAsync(await route.Request.HeaderValueAsync("last-event-id") is null
            ? new RouteFulfillOptions { ContentType = "text/event-stream", Body = "data: {\"model\":\"m\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"One\"}}]}\nid: r:1\n\n" }
            : new RouteFulfillOptions { Status = 404, ContentType = "application/json", Body = """{"error":{"message":"There is no such stream."}}""" }));
        await Page.FillAsync("#prompt", "Count.");
        await Page.PressAsync("#prompt", "Enter");
        await Expect(Answers.Last.Locator(".fault")).ToContainTextAsync("There is no such stream.");
        await Expect(Answers.Last.Locator(".prose")).ToHaveTextAsync("One");
    }
}
