using Microsoft.Playwright;
using NUnit.Framework;
using static Microsoft.Playwright.Assertions;

namespace TpServe.Page.Tests;

/// <summary>The ranks as drawings, the page by keyboard alone, at three widths, light and dark.</summary>
public sealed class LookTests : PageFixture
{
    private const string Markdown = """
        # A heading
        Some **bold**, *soft* and `code`, and a [link](https://example.org/).

        1. one
        2. two with a very_long_word_that_goes_on_and_on_and_on_and_on_and_on_and_on_and_on_and_on_and_on_and_on_and_on_and_on_and_on

        ```python
        def add(a, b):
            return a + b  # a long comment that is wider than a telephone, so that it scrolls inside its frame and moves nothing else
        ```

        | a | b | c | d | e | f | g |
        | --- | --- | --- | --- | --- | --- | --- |
        | first column | second column | third column | fourth column | fifth column | sixth column | seventh column |

        > quoted
        """;

    // Every visible text against the ground it stands on: WCAG 2.1, 1.4.3 (4.5 to 1; 3 to 1 for large letters).
    private const string Contrast = """
        () => {
          const canvas = Object.assign(document.createElement('canvas'), { width: 1, height: 1 }).getContext('2d', { willReadFrequently: true });
          const rgba = colour => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = colour; canvas.fillRect(0, 0, 1, 1); return [...canvas.getImageData(0, 0, 1, 1).data]; };
          const light = ([r, g, b]) => [r, g, b].map(v => v / 255).map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4).reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
          const ground = element => { for (let at = element; at; at = at.parentElement) { const colour = rgba(getComputedStyle(at).backgroundColor); if (colour[3] > 250) return colour; } return [255, 255, 255, 255]; };
          const low = [];
          for (const element of document.querySelectorAll('body *')) {
            if (![...element.childNodes].some(node => node.nodeType === 3 && node.textContent.trim()) && !(element.placeholder && !element.value))
              continue;
            const style = getComputedStyle(element), box = element.getBoundingClientRect();
            if (style.visibility !== 'visible' || box.width < 2 || box.height < 2 || element.closest('.for-ears, dialog, .skip, [aria-disabled], svg'))
              continue;
            const ink = rgba(element.placeholder && !element.value ? getComputedStyle(element, '::placeholder').color : style.color), on = ground(element);
            const [bright, dim] = [light(ink), light(on)].sort((a, b) => b - a);
            const ratio = (bright + 0.05) / (dim + 0.05), size = parseFloat(style.fontSize);
            if (ratio < (size >= 24 || size >= 18.66 && style.fontWeight >= 700 ? 3 : 4.5))
              low.push(`${element.tagName}.${element.className} "${(element.textContent || element.placeholder).trim().slice(0, 20)}" ${ratio.toFixed(2)}`);
          }
          return low.join('\n');
        }
        """;

    [Test]
    public async Task Ranks_OfTwoWorkers_AreDrawn()
    {
        await Expect(Page.Locator("#ranks-panel")).ToBeVisibleAsync();
        ILocator heads = Page.Locator(".band").Nth(0), kv = Page.Locator(".band").Nth(1), leaves = Page.Locator(".band").Nth(2), vocabulary = Page.Locator(".band").Nth(3);
        await Expect(heads.Locator("rect.rank-0")).ToHaveCountAsync(5);
        await Expect(heads.Locator("rect.rank-1")).ToHaveCountAsync(4);
        await Expect(kv.Locator("rect")).ToHaveCountAsync(4); // three heads, of which both ranks hold the middle one
        await Expect(leaves.Locator("rect")).ToHaveCountAsync(24);
        await Expect(vocabulary.Locator("rect")).ToHaveCountAsync(2);
        await Expect(Page.Locator(".time-row")).ToHaveCountAsync(2);
        await Expect(Page.Locator(".edge")).ToHaveCountAsync(1);
        await Expect(Page.Locator(".cache rect.free").First).ToBeVisibleAsync();

        await AskAsync("Tell me about ships.");
        await Expect(Page.Locator(".cache rect:is(.cached, .used)").First).ToBeVisibleAsync();
        await Expect(Page.Locator(".chart .line-0").First).ToHaveAttributeAsync("d", new System.Text.RegularExpressions.Regex("^M"));
        Assert.That(await Page.Locator(".row-figure").First.InnerTextAsync(), Does.Contain("ms a step"));
        foreach (ILocator drawing in await Page.Locator("#ranks svg[role=img]").AllAsync())
            Assert.That(await drawing.GetAttributeAsync("aria-label"), Is.Not.Empty);
    }

    [Test]
    public async Task Keyboard_Alone_DoesEverything()
    {
        await Expect(Page.Locator("#prompt")).ToBeFocusedAsync();
        await Page.Keyboard.TypeAsync("What is the capital of France?");
        await Page.Keyboard.PressAsync("Enter");
        await AnsweredAsync();
        await Page.Keyboard.PressAsync("Shift+Tab"); // to the last button of the answer
        await Expect(Answers.Last.GetByLabel("Copy text")).ToBeFocusedAsync();
        await Page.Keyboard.PressAsync("Shift+Tab");
        await Page.Keyboard.PressAsync("Shift+Tab");
        await Expect(Answers.Last.GetByLabel("Answer again")).ToBeFocusedAsync();
        await Page.Keyboard.PressAsync("Enter");
        await Expect(Answers.Last.Locator(".place")).ToHaveTextAsync("2/2");
        await AnsweredAsync();
        await Page.Keyboard.PressAsync("Alt+s");
        await Expect(Page.Locator("#settings-panel")).ToBeVisibleAsync();
        await Page.Keyboard.PressAsync("Alt+r");
        await Expect(Page.Locator("#ranks-panel")).ToBeVisibleAsync();
        await Page.Keyboard.PressAsync("Alt+n");
        await Expect(Page.Locator("#welcome")).ToBeVisibleAsync();
        await Expect(Page.Locator("#prompt")).ToBeFocusedAsync();
        await Page.EvaluateAsync("document.activeElement.blur()");
        await Page.Keyboard.PressAsync("?");
        await Expect(Page.Locator("#help-dialog")).ToBeVisibleAsync();
        await Page.Keyboard.PressAsync("Escape");
        await Expect(Page.Locator("#help-dialog")).ToBeHiddenAsync();
        await Page.Keyboard.PressAsync("/");
        await Expect(Page.Locator("#prompt")).ToBeFocusedAsync();
    }

    [Test]
    public async Task Keyboard_OnATelephonesWidth_OpensAndLeavesPanels()
    {
        await OpenAsync(390, 844);
        await Page.Keyboard.PressAsync("Alt+l");
        await Expect(Page.Locator("#new-conversation")).ToBeFocusedAsync();
        await Page.Keyboard.PressAsync("Escape");
        await Expect(Page.Locator("#toggle-list")).ToBeFocusedAsync();
        await Expect(Page.Locator("#list")).ToBeHiddenAsync();
        await Page.ClickAsync("#toggle-ranks");
        await Expect(Page.Locator("#ranks-panel h2")).ToBeFocusedAsync();
        await Page.ClickAsync("#close-side");
        await Expect(Page.Locator("#side")).ToBeHiddenAsync();
    }

    [TestCase(390, ColorScheme.Light)]
    [TestCase(820, ColorScheme.Dark)]
    [TestCase(1440, ColorScheme.Light)]
    [TestCase(1440, ColorScheme.Dark)]
    public async Task Page_AtAWidth_FitsAndCanBeRead(int width, ColorScheme scheme)
    {
        await OpenAsync(width, 900, scheme);
        await AnswerWithAsync(Markdown, reasoning: "First this, then that.");
        await AskAsync("Show me everything, with a_long_word_that_goes_on_and_on_and_on_and_on_and_on_and_on_and_on_and_on_and_on");
        await Expect(Page.Locator(".hljs-keyword").First).ToBeVisibleAsync();
        await CheckAsync("chat");
        foreach (string panel in new[] { "ranks", "settings" })
        {
            if (await Page.GetAttributeAsync("body", "data-side") != panel)
                await Page.EvaluateAsync($"document.getElementById('toggle-{panel}').click()");
            await Expect(Page.Locator($"#{panel}-panel")).ToBeVisibleAsync();
            await CheckAsync(panel);
        }

        async Task CheckAsync(string what)
        {
            Assert.That(await Page.EvaluateAsync<int>("document.documentElement.scrollWidth - innerWidth"), Is.LessThanOrEqualTo(0), what);
            Assert.That(await Page.EvaluateAsync<int>("document.getElementById('scroller').scrollWidth - document.getElementById('scroller').clientWidth"), Is.LessThanOrEqualTo(0), what);
            Assert.That(await Page.EvaluateAsync<string>(Contrast), Is.Empty, what);
        }
    }

    [Test]
    public async Task Scheme_ByTheButton_IsKept()
    {
        string light = await GroundAsync();
        await Page.ClickAsync("#toggle-scheme"); // auto → light
        await Page.ClickAsync("#toggle-scheme"); // → dark
        string dark = await GroundAsync();
        Assert.That(dark, Is.Not.EqualTo(light));
        await GoAsync();
        Assert.That(await GroundAsync(), Is.EqualTo(dark));

        Task<string> GroundAsync() => Page.EvaluateAsync<string>("getComputedStyle(document.body).backgroundColor");
    }
}
