using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;

namespace TpServe.Client;

/// <summary>Where the server is and how it is called.</summary>
public sealed class TpServeClientOptions
{
    /// <summary>Section of the configuration that <see cref="TpServeServices.AddTpServe(Microsoft.Extensions.DependencyInjection.IServiceCollection, Action{TpServeClientOptions})"/> reads.</summary>
    public const string Section = "TpServe";

    /// <summary>The server's gRPC address, http or https. Default http://127.0.0.1:8081.</summary>
    [Required]
    public Uri Address { get; set; } = new("http://127.0.0.1:8081");

    /// <summary>Model of requests that name none. Default: the served model.</summary>
    public string? Model { get; set; }

    /// <summary>Sent with every call as "authorization: Bearer …". Default: none.</summary>
    public string? ApiKey { get; set; }

    /// <summary>Asked before every call for further metadata, such as a token that changes. Default: none.</summary>
    public Func<CancellationToken, ValueTask<IReadOnlyDictionary<string, string>>>? Metadata { get; set; }

    /// <summary>How long a call may take, all its attempts together. Default: as long as the server takes.</summary>
    public TimeSpan? Deadline { get; set; }

    /// <summary>How often a call is begun before its failure is thrown, 1 = never again. Default 4.</summary>
    [Range(1, 100)]
    public int MaxAttempts { get; set; } = 4;

    /// <summary>How often in a row a stream whose connection was lost is resumed without a new event, 0 = never. Default 8.</summary>
    [Range(0, 100)]
    public int MaxResumes { get; set; } = 8;

    /// <summary>Bound of the random wait before the second attempt; doubles with each further one. Default 200 ms.</summary>
    [Range(typeof(TimeSpan), "00:00:00.001", "00:01:00")]
    public TimeSpan FirstBackoff { get; set; } = TimeSpan.FromMilliseconds(200);

    /// <summary>Up to which the bound doubles. Default 5 s.</summary>
    [Range(typeof(TimeSpan), "00:00:00.001", "00:10:00")]
    public TimeSpan MaxBackoff { get; set; } = TimeSpan.FromSeconds(5);

    /// <summary>Longest wait that the server can ask for; where it asks for more the failure is thrown. Default 1 min.</summary>
    [Range(typeof(TimeSpan), "00:00:00", "1.00:00:00")]
    public TimeSpan MaxRetryAfter { get; set; } = TimeSpan.FromMinutes(1);

    /// <summary>Largest message, sent or received, in bytes. Default 64 MiB.</summary>
    [Range(1024, int.MaxValue)]
    public int MaxMessageBytes { get; set; } = 64 << 20;

    /// <summary>How often a connection that is silent while calls wait on it is probed. Default 20 s.</summary>
    [Range(typeof(TimeSpan), "00:00:01", "1.00:00:00")]
    public TimeSpan KeepAlivePeriod { get; set; } = TimeSpan.FromSeconds(20);

    /// <summary>How long a probe may stay unanswered before the connection counts as lost. Default 10 s.</summary>
    [Range(typeof(TimeSpan), "00:00:01", "1.00:00:00")]
    public TimeSpan KeepAliveTimeout { get; set; } = TimeSpan.FromSeconds(10);

    /// <summary>How long connecting may take. Default 10 s.</summary>
    [Range(typeof(TimeSpan), "00:00:00.100", "00:10:00")]
    public TimeSpan ConnectTimeout { get; set; } = TimeSpan.FromSeconds(10);

    /// <summary>Checks every value.</summary>
    /// <exception cref="OptionsValidationException">One or more are wrong; all of them are named.</exception>
    public void Validate()
    {
        ValidateOptionsResult[] results =
            [new TpServeClientOptionsAttributes().Validate(null, this), new TpServeClientOptionsRules().Validate(null, this)];
        string[] failures = [.. results.Where(result => result.Failed).SelectMany(result => result.Failures ?? [])];
        if (failures.Length > 0)
            throw new OptionsValidationException(Section, typeof(TpServeClientOptions), failures);
    }
}

[OptionsValidator]
internal sealed partial class TpServeClientOptionsAttributes : IValidateOptions<TpServeClientOptions>;

/// <summary>What attributes cannot say.</summary>
internal sealed class TpServeClientOptionsRules : IValidateOptions<TpServeClientOptions>
{
    public ValidateOptionsResult Validate(string? name, TpServeClientOptions options)
    {
        List<string> failures = [];
        if (options.Address is { } address && (!address.IsAbsoluteUri || address.Scheme is not ("http" or "https")))
            failures.Add($"Address is '{address}'; it must be http://HOST:PORT or https://HOST:PORT.");
        if (options.Deadline is { } deadline && deadline <= TimeSpan.Zero)
            failures.Add($"Deadline is {deadline}; it must be more than 0.");
        if (options.MaxBackoff < options.FirstBackoff)
            failures.Add($"MaxBackoff is {options.MaxBackoff}; it must be at least FirstBackoff, {options.FirstBackoff}.");
        return failures.Count == 0 ? ValidateOptionsResult.Success : ValidateOptionsResult.Fail(failures);
    }
}
