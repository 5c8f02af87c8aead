using NUnit.Framework;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace TpServe.Clients.Tests;

/// <summary>What a client asks of the server beyond text.</summary>
public enum Feature
{
    /// <summary>Functions that the model may call, over every API.</summary>
    Tools,

    /// <summary>/v1/embeddings and Embed.</summary>
    Embeddings,

    /// <summary>/v1/responses.</summary>
    Responses,

    /// <summary>Ollama's /api routes.</summary>
    Ollama,

    /// <summary>Anthropic's /v1/messages.</summary>
    Messages,

    /// <summary>gRPC-Web on the HTTP port.</summary>
    GrpcWeb,
}

/// <summary>The test, or every test of the class, needs a feature of the server; while the server lacks it, it is ignored.</summary>
[AttributeUsage(AttributeTargets.Method | AttributeTargets.Class, AllowMultiple = true)]
public sealed class NeedsAttribute(Feature feature) : NUnitAttribute, IApplyToTest
{
    // The one place that says what the server lacks.
    private static readonly Feature[] s_lacking = [];

    /// <summary>Ignores the running test while the server lacks a feature; for tests whose cases need different ones.</summary>
    public static void Require(Feature needed)
    {
        if (s_lacking.Contains(needed))
            Assert.Ignore(Reason(needed));
    }

    /// <summary>What is needed.</summary>
    public Feature Feature => feature;

    /// <inheritdoc/>
    public void ApplyToTest(Test test)
    {
        if (!s_lacking.Contains(feature) || test.RunState == RunState.NotRunnable)
            return;
        test.RunState = RunState.Ignored;
        test.Properties.Set(PropertyNames.SkipReason, Reason(feature));
    }

    private static string Reason(Feature lacking) => $"The server lacks {lacking}.";
}
