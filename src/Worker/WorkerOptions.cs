using System.ComponentModel.DataAnnotations;
using Microsoft.Extensions.Options;

namespace TpServe.Worker;

/// <summary>Settings of a worker process; everything about the model and the group comes with the gateway's Load call.</summary>
public sealed class WorkerOptions
{
    /// <summary>Section of the configuration.</summary>
    public const string Section = "Worker";

    /// <summary>Where it serves the gateway and its peers: unix:PATH, or HOST:PORT for workers on other hosts.</summary>
    [Required, RegularExpression("^(unix:/.+|[^:/]+:[0-9]{1,5})$", ErrorMessage = "Worker:Listen '{0}' is neither unix:/PATH nor HOST:PORT.")]
    public string Listen { get; init; } = "";

    /// <summary>True where the gateway started it: the secret comes on the first line of standard input, and the process ends when that input ends.</summary>
    public bool Supervised { get; init; }

    /// <summary>File that holds the group's secret, for workers started by hand; its content is trimmed.</summary>
    public string SecretFile { get; init; } = "";

    /// <summary>Address under which peers reach it; empty = derived from <see cref="Listen"/>.</summary>
    public string Advertise { get; init; } = "";

    /// <summary>trace, debug, information, warning, error.</summary>
    [AllowedValues("trace", "debug", "information", "warning", "error")] public string LogLevel { get; init; } = "information";

    /// <summary>Reads and checks the settings.</summary>
    /// <exception cref="OptionsValidationException">Every fault found, not only the first.</exception>
    public static WorkerOptions Read(IConfiguration configuration)
    {
        WorkerOptions options = configuration.GetSection(Section).Get<WorkerOptions>() ?? new WorkerOptions();
        IValidateOptions<WorkerOptions>[] checks = [new WorkerOptionsAttributes(), new WorkerOptionsRules()];
        string[] faults = [.. checks.SelectMany(check => check.Validate(null, options).Failures ?? [])];
        return faults.Length == 0 ? options : throw new OptionsValidationException(Section, typeof(WorkerOptions), faults);
    }
}

/// <summary>The generated attribute checks.</summary>
[OptionsValidator]
internal sealed partial class WorkerOptionsAttributes : IValidateOptions<WorkerOptions>;

/// <summary>Rules across fields.</summary>
internal sealed class WorkerOptionsRules : IValidateOptions<WorkerOptions>
{
    public ValidateOptionsResult Validate(string? name, WorkerOptions options)
    {
        if (options.Supervised == (options.SecretFile.Length > 0))
            return ValidateOptionsResult.Fail("exactly one of Worker:Supervised=true and Worker:SecretFile=PATH gives the group's secret.");
        if (options.SecretFile.Length > 0 && !File.Exists(options.SecretFile))
            return ValidateOptionsResult.Fail($"Worker:SecretFile '{options.SecretFile}' does not exist.");
        return ValidateOptionsResult.Success;
    }
}
