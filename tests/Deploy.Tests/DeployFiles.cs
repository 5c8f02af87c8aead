using TpServe.Testing;

namespace TpServe.Deploy.Tests;

/// <summary>The deployment files as texts; a check reads them from here, so that a test can hand it a changed one.</summary>
internal sealed record DeployFiles
{
    public string Compose { get; init; } = Read("docker-compose.yml");

    public string EnvironmentExample { get; init; } = Read(".env.example");

    public string Dockerfile { get; init; } = Read("deploy/Dockerfile");

    public string DockerIgnore { get; init; } = Read(".dockerignore");

    public string LeaderWorkerSet { get; init; } = Read("deploy/kubernetes/leaderworkerset.yaml");

    public string Service { get; init; } = Read("deploy/kubernetes/service.yaml");

    public string Guide { get; init; } = Read("docs/DEPLOY.md");

    public static string PathOf(string relative) => Path.Combine(TestData.Repository, relative);

    public static string Read(string relative) => File.ReadAllText(PathOf(relative));
}
