using NUnit.Framework;
using TpServe.EndToEnd.Tests;

namespace TpServe.Clients.Tests;

/// <summary>The one server that all clients of this assembly talk to: the tracked model, two workers.</summary>
[SetUpFixture]
public sealed class RunningServer
{
    /// <summary>Name of its model.</summary>
    public const string Model = "SmolLM2-135M-Instruct.Q4_1";

    private static ServerProcess? s_server;

    /// <summary>Where HTTP is served.</summary>
    public static Uri Http => new($"http://127.0.0.1:{s_server!.HttpPort}");

    /// <summary>Where OpenAI's API is.</summary>
    public static Uri OpenAi => new(Http, "/v1");

    /// <summary>Where gRPC is served.</summary>
    public static Uri Grpc => new($"http://127.0.0.1:{s_server!.GrpcPort}");

    [OneTimeSetUp]
    public async Task Start() => s_server = await ServerProcess.StartAsync();

    [OneTimeTearDown]
    public async Task Stop()
    {
        if (s_server is not null)
            await s_server.DisposeAsync();
    }
}
