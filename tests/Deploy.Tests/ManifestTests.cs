using System.Text.Json.Nodes;
using k8s.Models;
using NUnit.Framework;
using TpServe.Links;

namespace TpServe.Deploy.Tests;

/// <summary>The manifests of deploy/kubernetes are right, and the check that says so finds faults.</summary>
public sealed class ManifestTests
{
    private const string Folder = "deploy/kubernetes/";
    private static readonly DeployFiles s_files = new();

    [Test]
    public void Manifests_AsTheyAre_HaveNoFault() => Assert.That(ManifestCheck.Faults(s_files), Is.Empty);

    [TestCase("size: 2", "size: two", "size: IntegerExpected")]
    [TestCase("size: 2", "pods: 2", "pods: NoAdditionalPropertiesAllowed")]
    [TestCase("size: 2", "size: 3", "a group of 3 pods")]
    [TestCase("restartPolicy: RecreateGroupOnPodRestart", "restartPolicy: Always", "NotInEnumeration")]
    [TestCase("leaderworkerset.x-k8s.io/v1", "leaderworkerset.x-k8s.io/v2", "NotInEnumeration")]
    [TestCase("failureThreshold: 252", "failureTreshold: 252", "NoAdditionalPropertiesAllowed")]
    [TestCase("failureThreshold: 252", "failureThreshold: 3", "before ConnectTimeout")]
    [TestCase("path: /health/ready", "path: /healthz", "asks /healthz, which is not served")]
    [TestCase("path: /health/ready", "path: /health/live", "readiness is not")]
    [TestCase("port: http }", "port: web }", "which is not declared")]
    [TestCase("containerPort: 9001", "containerPort: 9000", "are declared and 9001 listened on")]
    [TestCase("value: 0.0.0.0:8080", "value: 127.0.0.1:8080", "cannot be reached")]
    [TestCase("name: Gateway__LoadTimeout", "name: Gateway__LoadLimit", "Gateway__LoadLimit is no setting")]
    [TestCase("- --transport", "- --transports", "no flag --transports")]
    [TestCase("command: [tpserve-worker]", "command: [worker]", "'worker' is not in the image")]
    [TestCase("command: [tpserve, drain,", "command: [tpserve, stop,", "'tpserve stop' is no command")]
    [TestCase("https://$(POD_NAME)-1.tpserve:9001", "https://$(POD_NAME)-1.tpserve:9002", "has the workers")]
    [TestCase("https://$(POD_NAME)-1.tpserve:9001", "http://$(POD_NAME)-1.tpserve:9001", "has the workers")]
    [TestCase("name: Worker__Tls", "name: Worker__LogLevel", "Worker__Tls is not set")]
    [TestCase("value: https://$(POD_NAME).tpserve:9001", "value: https://$(HOST).tpserve:9001", "$(HOST) is not defined")]
    [TestCase("terminationGracePeriodSeconds: 90", "terminationGracePeriodSeconds: 60", "not enough for a drain of 60 s")]
    [TestCase("runAsUser: 1654", "runAsUser: 0", "does not run as user 1654")]
    [TestCase("allowPrivilegeEscalation: false", "privileged: true", "more rights than it needs")]
    [TestCase("mountPath: /var/cache/tpserve", "mountPath: /var/cache/cuda", "/var/cache/cuda is not in the image")]
    [TestCase("- name: cache", "- name: kernels", "volume cache is not declared")]
    [TestCase("image: tpserve:0.1.0", "image: tpserve:latest", "is not the one that compose builds")]
    public void Manifests_Changed_AreFoundFaulty(string from, string to, string fault)
    {
        Assert.That(s_files.LeaderWorkerSet, Does.Contain(from), "the control must change something");
        string changed = s_files.LeaderWorkerSet.Replace(from, to, StringComparison.Ordinal);
        Assert.That(ManifestCheck.Faults(s_files with { LeaderWorkerSet = changed }), Has.Some.Contains(fault));
    }

    [TestCase("component: leader", "component: head", "which the leader does not have")]
    [TestCase("targetPort: grpc", "targetPort: rpc", "rpc is not declared")]
    [TestCase("port: 8081", "port: 99999", "NumberTooBig")]
    public void Service_Changed_IsFoundFaulty(string from, string to, string fault)
    {
        string changed = s_files.Service.Replace(from, to, StringComparison.Ordinal);
        Assert.That(ManifestCheck.Faults(s_files with { Service = changed }), Has.Some.Match(fault));
    }

    [Test]
    public void TypedReading_UnknownField_IsAFault() // the second oracle works by itself
    {
        JsonObject pod = Yaml.Load(s_files.LeaderWorkerSet)["spec"]!["leaderWorkerTemplate"]!["workerTemplate"]!.AsObject();
        Assert.That(ManifestCheck.Typed<V1PodTemplateSpec>(pod), Is.Empty);
        pod["spec"]!["containers"]![0]!["readynessProbe"] = new JsonObject();
        Assert.That(ManifestCheck.Typed<V1PodTemplateSpec>(pod), Has.Some.Contains("readynessProbe"));
    }

    [Test]
    public void OtherManifests_MatchTheirSchemasAndTypes()
    {
        JsonObject policy = Yaml.Load(DeployFiles.Read(Folder + "networkpolicy.yaml")), claim = Yaml.Load(DeployFiles.Read(Folder + "models.yaml"));
        Assert.That(Schemas.Kubernetes(policy).Concat(ManifestCheck.Typed<V1NetworkPolicy>(policy)), Is.Empty);
        Assert.That(Schemas.Kubernetes(claim).Concat(ManifestCheck.Typed<V1PersistentVolumeClaim>(claim)), Is.Empty);
        long[] open = [.. policy["spec"]!["ingress"]!.AsArray().SelectMany(rule => rule!["ports"]!.AsArray()).Select(port => port!["port"]!.GetValue<long>())];
        Assert.That(open, Is.EquivalentTo(new long[] { 8080, 8081, 9001 }));
        JsonNode claimed = Yaml.Load(s_files.LeaderWorkerSet)["spec"]!["leaderWorkerTemplate"]!["workerTemplate"]!["spec"]!["volumes"]!.AsArray()
            .Single(volume => volume!["name"]!.ToString() == "models")!;
        Assert.That(claimed["persistentVolumeClaim"]!["claimName"]!.ToString(), Is.EqualTo(claim["metadata"]!["name"]!.ToString()));
    }

    [Test]
    public void Kustomization_NamesEveryManifestTheSecretAndTheImage()
    {
        JsonObject kustomization = Yaml.Load(DeployFiles.Read(Folder + "kustomization.yaml"));
        Assert.That(Schemas.Kubernetes(kustomization), Is.Empty);
        string[] present = [.. Directory.GetFiles(DeployFiles.PathOf(Folder), "*.yaml").Select(file => Path.GetFileName(file)!).Where(file => file != "kustomization.yaml")];
        Assert.That(kustomization["resources"]!.AsArray().Select(one => one!.ToString()), Is.EquivalentTo(present));
        JsonNode secret = kustomization["secretGenerator"]![0]!;
        Assert.That(s_files.LeaderWorkerSet, Does.Contain($"secretName: {secret["name"]}"));
        Assert.That(s_files.LeaderWorkerSet, Does.Contain($"/run/secrets/tpserve/{secret["files"]![0]}"));
        JsonNode tls = kustomization["secretGenerator"]![1]!;
        Assert.That(s_files.LeaderWorkerSet, Does.Contain($"secretName: {tls["name"]}"));
        Assert.That(tls["files"]!.AsArray().Select(file => Path.GetFileName(file!.ToString())), Is.EquivalentTo(new[] { GroupCertificate.CertificateFile, GroupCertificate.KeyFile }));
        Assert.That(kustomization["generatorOptions"]!["disableNameSuffixHash"]!.GetValue<bool>(), Is.True);
        JsonNode image = kustomization["images"]![0]!;
        Assert.That(s_files.LeaderWorkerSet, Does.Contain($"image: {image["name"]}:{image["newTag"]}"));
    }
}
