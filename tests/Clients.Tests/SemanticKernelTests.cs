using Microsoft.SemanticKernel;
using Microsoft.SemanticKernel.ChatCompletion;
using Microsoft.SemanticKernel.Connectors.OpenAI;
using NUnit.Framework;

namespace TpServe.Clients.Tests;

/// <summary>Semantic Kernel by its connector for OpenAI's API, unchanged.</summary>
[Category("MultiProcess")]
public sealed class SemanticKernelTests
{
    private static Kernel Kernel() => Microsoft.SemanticKernel.Kernel.CreateBuilder()
        .AddOpenAIChatCompletion(RunningServer.Model, RunningServer.OpenAi, apiKey: "none").Build();

    [Test]
    public async Task ChatCompletion_WholeAndStreamed_Agree()
    {
        Kernel kernel = Kernel();
        IChatCompletionService chat = kernel.GetRequiredService<IChatCompletionService>();
        ChatHistory history = new("You answer in one short sentence.");
        history.AddUserMessage("Why is the sky blue?");
        OpenAIPromptExecutionSettings settings = new() { Temperature = 0, MaxTokens = 12 };
        ChatMessageContent whole = await chat.GetChatMessageContentAsync(history, settings, kernel);
        string streamed = "";
        await foreach (StreamingChatMessageContent update in chat.GetStreamingChatMessageContentsAsync(history, settings, kernel))
            streamed += update.Content;
        Assert.That(whole.Content, Is.Not.Empty);
        Assert.That(streamed, Is.EqualTo(whole.Content));
    }

    [Test]
    public async Task PromptFunction_WithAnArgument_IsAnswered()
    {
        FunctionResult result = await Kernel().InvokePromptAsync(
            "What is the capital of {{$country}}?", new KernelArguments(new OpenAIPromptExecutionSettings { Temperature = 0, MaxTokens = 12 }) { ["country"] = "France" });
        Assert.That(result.RenderedPrompt, Is.EqualTo("What is the capital of France?"));
        Assert.That(result.GetValue<string>(), Is.Not.Empty);
    }

    [Test, Needs(Feature.Tools)]
    public async Task Plugin_RequiredFunction_IsCalledAndAnswered()
    {
        Weather weather = new();
        Kernel kernel = Kernel();
        KernelFunction function = KernelFunctionFactory.CreateFromMethod(weather.Tell, Weather.Name, "Tells the weather of a city.");
        kernel.Plugins.AddFromFunctions("Weather", [function]);
        ChatHistory history = [];
        history.AddUserMessage("What is the weather in Ulm?");
        OpenAIPromptExecutionSettings settings = new()
        {
            Temperature = 0,
            MaxTokens = 48,
            FunctionChoiceBehavior = FunctionChoiceBehavior.Required(autoInvoke: true),
        };
        ChatMessageContent answer = await kernel.GetRequiredService<IChatCompletionService>().GetChatMessageContentAsync(history, settings, kernel);
        Assert.That(weather.Asked, Is.Not.Empty);
        Assert.That(answer.Content, Is.Not.Empty);
    }
}
