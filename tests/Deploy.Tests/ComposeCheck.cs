using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace TpServe.Deploy.Tests;

/// <summary>Everything that docker-compose.yml must agree with: its schema, the settings, the flags, the image, .env.example.</summary>
internal static partial class ComposeCheck
{
    private static readonly string[] s_programs = ["tpserve", "tpserve-worker"];

    /// <summary>Every fault found; none where the file is right.</summary>
    public static IReadOnlyList<string> Faults(DeployFiles files)
    {
        Dictionary<string, string> none = [];
        JsonObject written = Yaml.Load(files.Compose);
        JsonObject compose = (JsonObject)Interpolation.Fill(written, none)!;
        Dockerfile image = Dockerfile.Parse(files.Dockerfile);
        List<string> faults = [.. Schemas.Compose(written), .. Schemas.Compose(compose), .. Variables(files)];
        foreach ((string name, JsonNode? service) in compose["services"]!.AsObject())
            faults.AddRange(Service(service!.AsObject(), compose, image).Select(fault => $"{name}: {fault}"));
        return [.. faults.Distinct()];
    }

    /// <summary>The environment of a service with every default in place: what the image sets, then what the service sets.</summary>
    public static Dictionary<string, string> Environment(DeployFiles files, string service)
    {
        JsonObject compose = (JsonObject)Interpolation.Fill(Yaml.Load(files.Compose), new Dictionary<string, string>())!;
        Dictionary<string, string> environment = Dockerfile.Parse(files.Dockerfile).Environment();
        foreach ((string key, JsonNode? value) in compose["services"]![service]!["environment"]!.AsObject())
            environment[key] = value?.ToString() ?? "";
        return environment;
    }

    /// <summary>The words that a service runs: entrypoint (the image's where it has none), then command.</summary>
    public static string[] Words(JsonObject service, Dockerfile image) =>
    [
        .. service["entrypoint"] is { } entrypoint ? Split(entrypoint) : Dockerfile.Words(image.Of(image.Final, "ENTRYPOINT").Single().Text),
        .. service["command"] is { } command ? Split(command) : [],
    ];

    private static IEnumerable<string> Variables(DeployFiles files)
    {
        HashSet<string> documented = [.. Documented().Matches(files.EnvironmentExample).Select(match => match.Groups[1].Value)];
        Dictionary<string, string> example = Interpolation.ReadEnvironment(files.EnvironmentExample);
        Interpolation.Use[] uses = [.. Interpolation.Uses(WithoutComments(files.Compose))];
        foreach (Interpolation.Use use in uses)
        {
            if (use.Default is null)
                yield return $"variable {use.Name} has no default";
            if (!documented.Contains(use.Name))
                yield return $"variable {use.Name} is not explained in .env.example";
            else if (example.TryGetValue(use.Name, out string? value) && value != use.Default)
                yield return $"variable {use.Name} is '{value}' in .env.example and '{use.Default}' in docker-compose.yml";
        }
        HashSet<string> used = [.. uses.Select(use => use.Name), "COMPOSE_PROFILES"];
        foreach (string name in documented.Where(name => !used.Contains(name)))
            yield return $"variable {name} of .env.example is not used";
    }

    private static IEnumerable<string> Service(JsonObject service, JsonObject compose, Dockerfile image)
    {
        Dictionary<string, string> environment = service["environment"] is JsonObject map ? map.ToDictionary(item => item.Key, item => item.Value?.ToString() ?? "") : [];

        // 1. Names: settings, programs, flags.
        foreach (string variable in environment.Keys)
            if (KnownSettings.Fault(variable) is { } fault)
                yield return fault;
        string[] words = Words(service, image);
        string[] check = service["healthcheck"]?["test"] is { } test ? Split(test) : [];
        if (check.Length == 0)
            yield return "no health check";
        else if (check[0] != "CMD")
            yield return "the health check needs a shell, which the image may not have";
        foreach (string[] line in new[] { words, check.Length > 0 ? check[1..] : [] }.Where(line => line.Length > 0))
        {
            if (!s_programs.Contains(line[0]) || !image.Laid().Contains("/usr/local/bin/" + line[0]))
                yield return $"program '{line[0]}' is not in the image";
            else if (line[0] == "tpserve")
                foreach (string fault in CommandLine.Faults(line[1..]))
                    yield return fault;
        }

        // 2. Ports: what is published is listened on, by all interfaces of the container; and the health check asks there.
        Dictionary<int, string> listening = environment.Where(item => item.Key is "Gateway__Http" or "Gateway__Grpc" or "Worker__Listen")
            .ToDictionary(item => PortOf(item.Value), item => item.Value);
        foreach ((int port, string address) in listening)
            if (!address.StartsWith("0.0.0.0:", StringComparison.Ordinal))
                yield return $"port {port} is listened on at {address} only";
        int[] published = [.. service["ports"]!.AsArray().Select(port => PortOf(port!.ToString()))];
        foreach (int port in published.Except(listening.Keys))
            yield return $"port {port} is published but nothing listens there";
        foreach (int port in listening.Keys.Except(published))
            yield return $"port {port} is not published";
        foreach (JsonNode? port in service["ports"]!.AsArray())
            if (!port!.ToString().StartsWith("127.0.0.1:", StringComparison.Ordinal))
                yield return $"port {port} is published beyond loopback by default";
        int[] exposed = [.. image.Of(image.Final, "EXPOSE").SelectMany(line => line.Text.Split(' ')).Select(int.Parse)];
        foreach (int port in listening.Keys.Except(exposed))
            yield return $"port {port} is not exposed by the image";
        int asked = Array.IndexOf(check, "--worker") is var at and > 0 ? PortOf(check[at + 1]) : words[0] == "tpserve" ? 8080 : 0;
        if (!listening.ContainsKey(asked))
            yield return $"the health check asks port {asked}, where nothing listens";
        foreach (string advertised in environment.Where(item => item.Key == "Worker__Advertise").Select(item => item.Value))
            if (!listening.ContainsKey(PortOf(advertised)))
                yield return $"{advertised} is advertised, but nothing listens on that port";

        // 3. Paths: mounts and settings point at folders of the image, at mounts, or at secrets of the service.
        (string Name, string Path)[] given = [.. (service["secrets"] as JsonArray ?? []).Select(secret => secret is JsonObject placed
            ? (placed["source"]!.ToString(), "/run/secrets/" + placed["target"])
            : (secret!.ToString(), "/run/secrets/" + secret))];
        HashSet<string> secrets = [.. given.Select(secret => secret.Path), .. given.Select(secret => Path.GetDirectoryName(secret.Path)!).Where(folder => folder != "/run/secrets")];
        foreach (JsonNode? volume in service["volumes"]!.AsArray())
            if (!image.Laid().Contains(volume!["target"]!.ToString()))
                yield return $"path {volume["target"]} is not in the image";
        foreach ((string variable, string value) in environment.Where(item => item.Value.StartsWith('/')))
            if (!secrets.Contains(value) && !value.StartsWith("/models/", StringComparison.Ordinal))
                yield return $"{variable}: path {value} is neither a secret of the service nor below /models";
        foreach (string value in check.Where(word => word.StartsWith('/') && !secrets.Contains(word)))
            yield return $"the health check names {value}, which is no secret of the service";
        foreach (string name in new[] { "Gateway__Tls", "Worker__Tls" }.Where(name => environment.ContainsKey(name.Replace("Tls", "SecretFile", StringComparison.Ordinal)) && !environment.ContainsKey(name)))
            yield return $"{name} is not set, so its links are not encrypted";
        foreach (string secret in given.Select(secret => secret.Name))
            if (compose["secrets"]?[secret] is null)
                yield return $"secret {secret} is not declared";
        if (service["build"] is { } build && !File.Exists(DeployFiles.PathOf(build["dockerfile"]!.ToString())))
            yield return $"build file {build["dockerfile"]} does not exist";
        foreach ((string argument, JsonNode? _) in service["build"]!["args"]!.AsObject())
            if (!image.Instructions.Any(line => line.Name == "ARG" && line.Text.StartsWith(argument + "=", StringComparison.Ordinal)))
                yield return $"build argument {argument} is unknown to the Dockerfile";

        // 4. Rights.
        foreach (string fault in Rights(service))
            yield return fault;
    }

    private static IEnumerable<string> Rights(JsonObject service)
    {
        if (service["privileged"] is not null)
            yield return "privileged";
        if (!(service["user"]?.ToString() is { } user && NumericUser().IsMatch(user)))
            yield return $"user '{service["user"]}' is not a number above 0";
        if (service["read_only"]?.GetValue<bool>() != true)
            yield return "the root is not read-only";
        if ((service["cap_drop"] as JsonArray)?.Any(capability => capability!.ToString() == "ALL") != true || service["cap_add"] is not null)
            yield return "capabilities are kept";
        if ((service["security_opt"] as JsonArray)?.Any(option => option!.ToString() == "no-new-privileges:true") != true)
            yield return "privileges can be gained";
        foreach (string shared in new[] { "ipc", "pid", "network_mode", "userns_mode" }.Where(key => service[key] is not null))
            yield return $"{shared} is shared with others";
        if (service["restart"] is null)
            yield return "no restart policy";
    }

    private static string[] Split(JsonNode words) => words is JsonArray list ? [.. list.Select(word => word!.ToString())] : words.ToString().Split(' ', StringSplitOptions.RemoveEmptyEntries);

    private static int PortOf(string address) => int.Parse(address[(address.LastIndexOf(':') + 1)..], System.Globalization.CultureInfo.InvariantCulture);

    private static string WithoutComments(string yaml) => string.Join('\n', yaml.Split('\n').Where(line => !line.TrimStart().StartsWith('#')));

    [GeneratedRegex("^#?([A-Z_]+)=", RegexOptions.Multiline)]
    private static partial Regex Documented();

    [GeneratedRegex("^[1-9][0-9]*:[1-9][0-9]*$")]
    private static partial Regex NumericUser();
}
