using Microsoft.Extensions.Options;

namespace TpServe.Gateway;

/// <summary>Reads the settings of a command: appsettings.json, environment, flags.</summary>
internal static class GatewaySettings
{
    /// <summary>A builder whose configuration holds all three.</summary>
    /// <param name="overrides">The flags, as configuration keys.</param>
    public static WebApplicationBuilder CreateBuilder(Dictionary<string, string?> overrides)
    {
        WebApplicationBuilder builder = WebApplication.CreateSlimBuilder(new WebApplicationOptions { ContentRootPath = AppContext.BaseDirectory });
        builder.Configuration.AddInMemoryCollection(overrides);
        return builder;
    }

    /// <summary>The settings, and every fault in them; defaults where a value cannot even be read.</summary>
    public static (GatewayOptions Options, IReadOnlyList<string> Faults) Read(IConfiguration configuration)
    {
        GatewayOptions options;
        try
        {
            options = configuration.GetSection(GatewayOptions.Section).Get<GatewayOptions>() ?? new GatewayOptions();
        }
        catch (InvalidOperationException fault)
        {
            return (new GatewayOptions(), [fault.Message + (fault.InnerException is { } inner ? " " + inner.Message : "")]);
        }
        List<string> faults = [];
        foreach (IValidateOptions<GatewayOptions> check in new IValidateOptions<GatewayOptions>[] { new GatewayOptionsAttributes(), new GatewayOptionsRules() })
            faults.AddRange(check.Validate(null, options).Failures ?? []);
        return (options, faults);
    }

    /// <summary>The settings.</summary>
    /// <exception cref="OptionsValidationException">Every fault found, not only the first.</exception>
    public static GatewayOptions Require(IConfiguration configuration)
    {
        (GatewayOptions options, IReadOnlyList<string> faults) = Read(configuration);
        return faults.Count == 0 ? options : throw new OptionsValidationException(GatewayOptions.Section, typeof(GatewayOptions), faults);
    }
}
