using System.Diagnostics;
using System.IO.Compression;
using System.Reflection;
using System.Xml.Linq;
using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.Client.Tests;

/// <summary>The NuGet package: what it holds, what it needs, and that its page tells the truth.</summary>
public sealed class PackageTests
{
    private static readonly TimeSpan s_packTimeout = TimeSpan.FromMinutes(2);

    [Test]
    public void Page_Sample_IsTheOneThatIsCompiled()
    {
        string page = File.ReadAllText(Path.Combine(TestData.Repository, "src", "Client", "PACKAGE.md"));
        string sample = page.Split("```csharp\n")[1].Split("```")[0];
        string[] source = File.ReadAllLines(Path.Combine(TestData.Repository, "tests", "Client.Tests", "PackageSample.cs"));
        string[] body = [.. source.SkipWhile(line => !line.Contains("RunAsync", StringComparison.Ordinal)).Skip(2).SkipLast(2).Select(line => line.Length > 8 ? line[8..] : line)];
        Assert.That(sample.TrimEnd('\n').Split('\n'), Is.EqualTo(body));
        Assert.That(body.Count(line => line.Length > 0), Is.LessThanOrEqualTo(20));
    }

    [Test, Category("MultiProcess")]
    public async Task Pack_Package_HoldsBothAssembliesTheirDocumentationAndThePage()
    {
        string configuration = typeof(PackageTests).Assembly.GetCustomAttribute<AssemblyConfigurationAttribute>()!.Configuration;
        using TemporaryFolder folder = new();
        using Process pack = Process.Start(new ProcessStartInfo(
            "dotnet", ["pack", Path.Combine(TestData.Repository, "src", "Client"), "-c", configuration, "--no-build", "-nodeReuse:false", "-o", folder.Path])
        { RedirectStandardOutput = true })!;
        Task<string> output = pack.StandardOutput.ReadToEndAsync();
        try
        {
            await pack.WaitForExitAsync(new CancellationTokenSource(s_packTimeout).Token);
        }
        finally
        {
            if (!pack.HasExited)
                pack.Kill(entireProcessTree: true);
        }
        Assert.That(pack.ExitCode, Is.Zero, await output);
        using ZipArchive package = await ZipFile.OpenReadAsync(Directory.GetFiles(folder.Path, "TpServe.Client.*.nupkg").Single());
        string[] files = [.. package.Entries.Select(entry => entry.FullName)];
        Assert.That(files, Is.SupersetOf(new[]
        {
            "lib/net10.0/TpServe.Client.dll", "lib/net10.0/TpServe.Client.xml", "lib/net10.0/TpServe.Protos.dll", "lib/net10.0/TpServe.Protos.xml", "PACKAGE.md", "LICENSE",
        }));
        await using Stream stream = await package.GetEntry("TpServe.Client.nuspec")!.OpenAsync();
        XElement metadata = (await XDocument.LoadAsync(stream, LoadOptions.None, default)).Root!.Elements().Single();
        XNamespace ns = metadata.Name.Namespace;
        Assert.Multiple(() =>
        {
            Assert.That((string?)metadata.Element(ns + "license"), Is.EqualTo("MIT"));
            Assert.That((string?)metadata.Element(ns + "readme"), Is.EqualTo("PACKAGE.md"));
            Assert.That((string?)metadata.Element(ns + "description"), Does.StartWith("Client of TpServe"));
            Assert.That(metadata.Descendants(ns + "dependency").Select(dependency => (string?)dependency.Attribute("id")), Is.EquivalentTo(new[]
            {
                "Google.Protobuf", "Grpc.Net.Client", "Grpc.StatusProto", "Microsoft.Extensions.AI.Abstractions", "Microsoft.Extensions.Options.ConfigurationExtensions",
            }));
        });
    }
}
