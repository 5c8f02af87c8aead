using Microsoft.Extensions.AI;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;
using TpServe.Client.Ai;

namespace TpServe.Client;

/// <summary>TpServe in an application's services.</summary>
public static class TpServeServices
{
    /// <summary>
    /// Registers <see cref="TpServeClient"/>, <see cref="IChatClient"/> and <see cref="IEmbeddingGenerator{TInput, TEmbedding}"/>, each once. Options come from the configuration's section
    /// "TpServe", where there is a configuration, and then from <paramref name="configure"/>; they are checked at start. A chat client or generator that the application registers itself stays.
    /// </summary>
    public static IServiceCollection AddTpServe(this IServiceCollection services, Action<TpServeClientOptions>? configure = null)
    {
        ArgumentNullException.ThrowIfNull(services);
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IValidateOptions<TpServeClientOptions>, TpServeClientOptionsAttributes>());
        services.TryAddEnumerable(ServiceDescriptor.Singleton<IValidateOptions<TpServeClientOptions>, TpServeClientOptionsRules>());
        services.AddOptions<TpServeClientOptions>()
            .Configure<IServiceProvider>(Bind)
            .Configure(configure ?? (_ => { }))
            .ValidateOnStart();
        return services.AddClients(provider => provider.GetRequiredService<IOptions<TpServeClientOptions>>().Value);
    }

    /// <summary>As <see cref="AddTpServe(IServiceCollection, Action{TpServeClientOptions})"/>, with these options and nothing from the configuration.</summary>
    /// <exception cref="OptionsValidationException">The options are wrong.</exception>
    public static IServiceCollection AddTpServe(this IServiceCollection services, TpServeClientOptions options)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentNullException.ThrowIfNull(options);
        options.Validate();
        return services.AddClients(_ => options);
    }

    /// <summary>The server's chat as an <see cref="IChatClient"/>; it does not own the client.</summary>
    /// <param name="client">Whose.</param>
    /// <param name="model">Model of requests that name none. Default: the client's.</param>
    public static IChatClient AsIChatClient(this TpServeClient client, string? model = null) => new TpServeChatClient(client, model);

    /// <summary>The server's embeddings as an <see cref="IEmbeddingGenerator{TInput, TEmbedding}"/>; it does not own the client.</summary>
    /// <param name="client">Whose.</param>
    /// <param name="model">Model of requests that name none. Default: the client's.</param>
    public static IEmbeddingGenerator<string, Embedding<float>> AsIEmbeddingGenerator(this TpServeClient client, string? model = null) => new TpServeEmbeddingGenerator(client, model);

    // A key that no option has is a mistake, and said at start.
    private static void Bind(TpServeClientOptions options, IServiceProvider provider) =>
        provider.GetService<IConfiguration>()?.GetSection(TpServeClientOptions.Section).Bind(options, binder => binder.ErrorOnUnknownConfiguration = true);

    private static IServiceCollection AddClients(this IServiceCollection services, Func<IServiceProvider, TpServeClientOptions> options)
    {
        services.TryAddSingleton(provider => new TpServeClient(options(provider), provider.GetService<ILoggerFactory>(), provider.GetService<TimeProvider>()));
        services.TryAddSingleton(provider => provider.GetRequiredService<TpServeClient>().AsIChatClient());
        services.TryAddSingleton(provider => provider.GetRequiredService<TpServeClient>().AsIEmbeddingGenerator());
        return services;
    }
}
