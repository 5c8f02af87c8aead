using Microsoft.Extensions.AI;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Options;
using NUnit.Framework;
using TpServe.Client.Ai;

namespace TpServe.Client.Tests;

/// <summary>AddTpServe: what is registered, where options come from, when they are checked.</summary>
public sealed class ServicesTests
{
    private static HostApplicationBuilder Host(params (string Key, string Value)[] configuration)
    {
        HostApplicationBuilder builder = Microsoft.Extensions.Hosting.Host.CreateEmptyApplicationBuilder(null);
        builder.Configuration.AddInMemoryCollection(configuration.Select(pair => KeyValuePair.Create<string, string?>(pair.Key, pair.Value)));
        return builder;
    }

    [Test]
    public async Task AddTpServe_Configuration_BindsTheSection()
    {
        HostApplicationBuilder builder = Host(("TpServe:Address", "http://host:5"), ("TpServe:Model", "mine"), ("TpServe:Deadline", "00:00:07"), ("TpServe:MaxAttempts", "9"));
        builder.Services.AddTpServe(options => options.MaxResumes = 3);
        using IHost host = builder.Build();
        await host.StartAsync();
        TpServeClientOptions options = host.Services.GetRequiredService<TpServeClient>().Options;
        Assert.That(
            (options.Address.ToString(), options.Model, options.Deadline, options.MaxAttempts, options.MaxResumes),
            Is.EqualTo(("http://host:5/", "mine", TimeSpan.FromSeconds(7), 9, 3)));
        Assert.That(host.Services.GetRequiredService<IChatClient>().GetService<ChatClientMetadata>()!.DefaultModelId, Is.EqualTo("mine"));
        Assert.That(host.Services.GetRequiredService<IEmbeddingGenerator<string, Embedding<float>>>(), Is.InstanceOf<TpServeEmbeddingGenerator>());
        Assert.That(host.Services.GetRequiredService<IChatClient>(), Is.SameAs(host.Services.GetRequiredService<IChatClient>()));
        await host.StopAsync();
    }

    [TestCase("TpServe:MaxAttempts", "0", "MaxAttempts")]
    [TestCase("TpServe:Address", "ftp://host", "Address")]
    [TestCase("TpServe:Adress", "http://host", "Adress")]
    public async Task AddTpServe_WrongConfiguration_StopsTheStart(string key, string value, string named)
    {
        HostApplicationBuilder builder = Host((key, value));
        builder.Services.AddTpServe();
        using IHost host = builder.Build();
        Exception? wrong = await Assert.CatchAsync(async () => await host.StartAsync());
        Assert.That(wrong, Is.InstanceOf<OptionsValidationException>().Or.InstanceOf<InvalidOperationException>());
        Assert.That(wrong!.Message, Does.Contain(named));
    }

    [Test]
    public void AddTpServe_Options_AreTakenAndCheckedAtOnce()
    {
        ServiceCollection services = new();
        Assert.Throws<OptionsValidationException>(() => services.AddTpServe(new TpServeClientOptions { MaxAttempts = 0 }));
        TpServeClientOptions options = new() { Model = "mine" };
        services.AddTpServe(options);
        using ServiceProvider provider = services.BuildServiceProvider();
        Assert.That(provider.GetRequiredService<TpServeClient>().Options, Is.SameAs(options));
    }

    [Test]
    public void AddTpServe_WithoutAConfiguration_HasTheDefaults()
    {
        using ServiceProvider provider = new ServiceCollection().AddTpServe().BuildServiceProvider();
        Assert.That(provider.GetRequiredService<TpServeClient>().Options.Address, Is.EqualTo(new Uri("http://127.0.0.1:8081")));
    }

    [Test]
    public void AddTpServe_ApplicationsOwnPipeline_IsWhatItGets()
    {
        ServiceCollection services = new();
        services.AddTpServe();
        services.AddChatClient(provider => provider.GetRequiredService<TpServeClient>().AsIChatClient()).UseFunctionInvocation();
        using ServiceProvider provider = services.BuildServiceProvider();
        IChatClient chat = provider.GetRequiredService<IChatClient>();
        Assert.That(chat, Is.InstanceOf<FunctionInvokingChatClient>());
        Assert.That(chat.GetService<TpServeClient>(), Is.SameAs(provider.GetRequiredService<TpServeClient>()));
    }
}
