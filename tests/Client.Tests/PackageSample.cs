using Microsoft.Extensions.AI;
using Microsoft.Extensions.DependencyInjection;
using TpServe.Protos.V1;

namespace TpServe.Client.Tests;

/// <summary>The sample of the package's page, as it stands there.</summary>
internal static class PackageSample
{
    public static async Task RunAsync()
    {
        ServiceCollection services = new();
        services.AddTpServe(options => options.Address = new Uri("http://127.0.0.1:8081")); // its gRPC port; or from the section "TpServe"
        await using ServiceProvider provider = services.BuildServiceProvider();

        // Microsoft.Extensions.AI: chat, streamed.
        IChatClient chat = provider.GetRequiredService<IChatClient>();
        ChatOptions options = new() { Temperature = 0, MaxOutputTokens = 32 };
        await foreach (ChatResponseUpdate update in chat.GetStreamingResponseAsync("Why is the sky blue?", options))
            Console.Write(update.Text);
        Console.WriteLine();

        // gRPC, with everything the server can do: here an output that must be one of two words.
        TpServeClient client = provider.GetRequiredService<TpServeClient>();
        GenerateResponse answer = await client.GenerateAsync(new GenerateRequest
        {
            Text = "Is 7 a prime number? Answer:",
            Constraint = new Constraint { Choice = new Choices { Options = { " yes", " no" } } },
        });
        Console.WriteLine($"{answer.Outputs[0].Text} [{answer.Usage.PromptTokens} prompt tokens]");
    }
}
