using System.Globalization;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using k8s;
using k8s.Models;
using YamlDotNet.Core;

namespace TpServe.Deploy.Tests;

/// <summary>Everything that the manifests of deploy/kubernetes must agree with: their schemas, the settings, the flags, the image, each other.</summary>
internal static partial class ManifestCheck
{
    /// <summary>Every fault found; none where the manifests are right.</summary>
    public static IReadOnlyList<string> Faults(DeployFiles files)
    {
        JsonObject set = Yaml.Load(files.LeaderWorkerSet), service = Yaml.Load(files.Service);
        List<string> faults = [.. Schemas.Kubernetes(set), .. Schemas.Kubernetes(service), .. Typed<V1Service>(service)];
        if (faults.Count > 0)
            return faults; // the rest reads what the schema promises
        Dockerfile image = Dockerfile.Parse(files.Dockerfile);
        JsonObject template = set["spec"]!["leaderWorkerTemplate"]!.AsObject();
        string name = set["metadata"]!["name"]!.ToString();
        foreach (string part in new[] { "leaderTemplate", "workerTemplate" })
        {
            JsonObject pod = template[part]!.AsObject();
            faults.AddRange(Typed<V1PodTemplateSpec>(pod).Concat(Pod(pod, image, files)).Select(fault => $"{part}: {fault}"));
        }
        faults.AddRange(Group(template, name));
        faults.AddRange(Reached(service, template["leaderTemplate"]!.AsObject()));
        return faults;
    }

    /// <summary>What a strict reading into Kubernetes' own types finds: unknown fields and wrong types.</summary>
    public static IEnumerable<string> Typed<T>(JsonNode manifest)
    {
        string? fault = null;
        try
        {
            _ = KubernetesYaml.Deserialize<T>(manifest.ToJsonString(), strict: true);
        }
        catch (YamlException wrong)
        {
            fault = $"{typeof(T).Name}: {wrong.InnerException?.Message ?? wrong.Message}";
        }
        return fault is null ? [] : [fault];
    }

    private static IEnumerable<string> Pod(JsonObject pod, Dockerfile image, DeployFiles files)
    {
        JsonObject spec = pod["spec"]!.AsObject();
        HashSet<string> volumes = [.. spec["volumes"]!.AsArray().Select(volume => volume!["name"]!.ToString())];
        string user = image.Of(image.Final, "USER").Single().Text.Split(':')[0];
        JsonNode? security = spec["securityContext"];
        if (security?["runAsNonRoot"]?.GetValue<bool>() != true || security["runAsUser"]?.ToString() != user || security["seccompProfile"]?["type"]?.ToString() != "RuntimeDefault")
            yield return $"the pod does not run as user {user} under the default seccomp profile";
        long grace = spec["terminationGracePeriodSeconds"]!.GetValue<long>();
        foreach (JsonObject container in spec["containers"]!.AsArray().Select(container => container!.AsObject()))
        {
            foreach (string fault in Container(container, volumes, image, files))
                yield return $"{container["name"]}: {fault}";
            int drain = int.Parse(Timeout().Match(container["lifecycle"]!["preStop"]!.ToJsonString()).Groups[1].Value, CultureInfo.InvariantCulture);
            if (grace < drain + 10)
                yield return $"{container["name"]}: {grace} s are not enough for a drain of {drain} s and the end";
        }
    }

    private static IEnumerable<string> Container(JsonObject container, HashSet<string> volumes, Dockerfile image, DeployFiles files)
    {
        // 1. Names: settings, programs, flags.
        Dictionary<string, string> environment = container["env"]!.AsArray().ToDictionary(item => item!["name"]!.ToString(), item => item!["value"]?.ToString() ?? "");
        foreach (string fault in environment.Keys.Select(KnownSettings.Fault).OfType<string>())
            yield return fault;
        string[] command = container["command"] is JsonArray given ? Words(given) : Dockerfile.Words(image.Of(image.Final, "ENTRYPOINT").Single().Text);
        string[] words = [.. command, .. container["args"] is JsonArray args ? Words(args) : []];
        string[] hook = Words(container["lifecycle"]!["preStop"]!["exec"]!["command"]!.AsArray());
        string[] hooked = hook[0] == "sh" ? hook[2].Split(' ') : hook;
        foreach (string[] line in new[] { words, hooked })
            if (!image.Laid().Contains("/usr/local/bin/" + line[0]))
                yield return $"program '{line[0]}' is not in the image";
            else if (line[0] == "tpserve")
                foreach (string fault in CommandLine.Faults(line[1..]))
                    yield return fault;
        if (!files.Compose.Contains($"${{TPSERVE_IMAGE:-{container["image"]}}}", StringComparison.Ordinal))
            yield return $"image {container["image"]} is not the one that compose builds";
        foreach (string variable in References().Matches(container.ToJsonString()).Select(match => match.Groups[1].Value))
            if (!environment.ContainsKey(variable) && variable is not ("LWS_LEADER_ADDRESS" or "LWS_GROUP_SIZE" or "LWS_WORKER_INDEX"))
                yield return $"$({variable}) is not defined";

        // 2. Ports: declared = listened on; probes name declared ones.
        Dictionary<string, long> ports = container["ports"]!.AsArray().ToDictionary(port => port!["name"]!.ToString(), port => port!["containerPort"]!.GetValue<long>());
        long[] listening = [.. environment.Where(item => item.Key is "Gateway__Http" or "Gateway__Grpc" or "Worker__Listen").Select(item => PortOf(item.Value))];
        if (!ports.Values.Order().SequenceEqual(listening.Order()))
            yield return $"ports {string.Join(", ", ports.Values)} are declared and {string.Join(", ", listening)} listened on";
        foreach (string address in environment.Where(item => item.Key is "Gateway__Http" or "Gateway__Grpc" or "Worker__Listen").Select(item => item.Value))
            if (!address.StartsWith("0.0.0.0:", StringComparison.Ordinal))
                yield return $"{address} cannot be reached from outside the pod";
        foreach (string probe in new[] { "startupProbe", "readinessProbe", "livenessProbe" })
        {
            JsonNode? asked = container[probe]?["httpGet"] ?? container[probe]?["tcpSocket"];
            if (asked is null || !ports.ContainsKey(asked["port"]!.ToString()))
                yield return $"{probe} asks port '{asked?["port"]}', which is not declared";
            else if (asked["path"] is { } path && !DeployFiles.Read("src/Gateway/Api/TpServeApi.cs").Contains($"Map(s_get, \"{path}\"", StringComparison.Ordinal))
                yield return $"{probe} asks {path}, which is not served";
        }
        if (container["readinessProbe"]?["httpGet"]?["path"]?.ToString() is { } ready && ready != "/health/ready")
            yield return $"readiness is not {ready}";

        // 3. Paths.
        HashSet<string> mounts = [];
        foreach (JsonNode? mount in container["volumeMounts"]!.AsArray())
        {
            mounts.Add(mount!["mountPath"]!.ToString());
            if (!volumes.Contains(mount["name"]!.ToString()))
                yield return $"volume {mount["name"]} is not declared";
        }
        foreach (string path in mounts.Where(path => path is not "/tmp" && !path.StartsWith("/run/secrets/", StringComparison.Ordinal) && !image.Laid().Contains(path)))
            yield return $"path {path} is not in the image";
        foreach ((string variable, string value) in environment.Where(item => item.Value.StartsWith('/')))
            if (!mounts.Any(mount => value == mount || value.StartsWith(mount + "/", StringComparison.Ordinal)))
                yield return $"{variable}: {value} lies in no mount";

        // 4. Links leave the pod: they are encrypted.
        foreach (string tls in new[] { "Gateway__Tls", "Worker__Tls" }.Where(name => environment.ContainsKey(name.Replace("Tls", "SecretFile", StringComparison.Ordinal)) && !environment.ContainsKey(name)))
            yield return $"{tls} is not set, so its links are not encrypted";

        // 5. Rights.
        JsonNode? rights = container["securityContext"];
        if (rights?["allowPrivilegeEscalation"]?.GetValue<bool>() != false || rights["readOnlyRootFilesystem"]?.GetValue<bool>() != true
            || rights["capabilities"]?["drop"]?.AsArray().Any(one => one!.ToString() == "ALL") != true || rights["privileged"] is not null || rights["capabilities"]?["add"] is not null)
            yield return "more rights than it needs";
    }

    // One --worker for each pod of the group, rank 0 in the leader's own pod.
    private static IEnumerable<string> Group(JsonObject template, string name)
    {
        JsonArray leader = template["leaderTemplate"]!["spec"]!["containers"]!.AsArray();
        string[] args = Words(leader.Single(container => container!["name"]!.ToString() == "gateway")!["args"]!.AsArray());
        string[] workers = [.. args.Index().Where(word => word.Index > 0 && args[word.Index - 1] == "--worker").Select(word => word.Item)];
        long size = template["size"]!.GetValue<long>();
        string[] expected = ["https://$(LWS_LEADER_ADDRESS):9001", .. Enumerable.Range(1, (int)size - 1).Select(index => $"https://$(POD_NAME)-{index}.{name}:9001")];
        if (!workers.SequenceEqual(expected))
            yield return $"a group of {size} pods has the workers {string.Join(", ", workers)}";
        foreach (string part in new[] { "leaderTemplate", "workerTemplate" })
        {
            JsonNode worker = template[part]!["spec"]!["containers"]!.AsArray().Single(container => container!["name"]!.ToString() == "worker")!;
            string? advertised = worker["env"]!.AsArray().Single(item => item!["name"]!.ToString() == "Worker__Advertise")!["value"]?.ToString();
            if (advertised != $"https://$(POD_NAME).{name}:9001")
                yield return $"{part}: {advertised} is advertised";
        }
        JsonNode gateway = leader.Single(container => container!["name"]!.ToString() == "gateway")!;
        JsonNode startup = gateway["startupProbe"]!;
        TimeSpan patience = TimeSpan.FromSeconds(startup["periodSeconds"]!.GetValue<long>() * startup["failureThreshold"]!.GetValue<long>());
        TimeSpan connect = TimeSpan.Parse(gateway["env"]!.AsArray().Single(item => item!["name"]!.ToString() == "Gateway__ConnectTimeout")!["value"]!.ToString(), CultureInfo.InvariantCulture);
        if (patience < connect)
            yield return $"the startup probe gives up after {patience}, before ConnectTimeout, {connect}";
    }

    private static IEnumerable<string> Reached(JsonObject service, JsonObject leader)
    {
        JsonObject labels = leader["metadata"]!["labels"]!.AsObject();
        foreach ((string label, JsonNode? value) in service["spec"]!["selector"]!.AsObject())
            if (labels[label]?.ToString() != value!.ToString())
                yield return $"the service selects {label}={value}, which the leader does not have";
        HashSet<string> ports = [.. leader["spec"]!["containers"]!.AsArray().SelectMany(container => container!["ports"]!.AsArray()).Select(port => port!["name"]!.ToString())];
        foreach (JsonNode? port in service["spec"]!["ports"]!.AsArray())
            if (!ports.Contains(port!["targetPort"]!.ToString()))
                yield return $"the service's port {port["targetPort"]} is not declared by the leader";
    }

    private static string[] Words(JsonArray words) => [.. words.Select(word => word!.ToString())];

    private static long PortOf(string address) => long.Parse(address[(address.LastIndexOf(':') + 1)..], CultureInfo.InvariantCulture);

    [GeneratedRegex("--timeout[\", ]+([0-9]+)")]
    private static partial Regex Timeout();

    [GeneratedRegex(@"\$\(([A-Za-z_][A-Za-z0-9_]*)\)")]
    private static partial Regex References();
}
