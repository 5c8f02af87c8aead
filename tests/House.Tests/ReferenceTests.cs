using System.Xml.Linq;
using NUnit.Framework;
using TpServe.Testing;

namespace TpServe.House.Tests;

/// <summary>Who may reference whom. The rooms' order is the architecture; a new arrow is a decision, not an accident.</summary>
public sealed class ReferenceTests
{
    private static readonly Dictionary<string, string[]> Allowed = new()
    {
        ["Protos"] = [],
        ["Checkpoint"] = [],
        ["Sharding"] = ["Checkpoint"],
        ["Kernels"] = [],
        ["Links"] = [],
        ["Collectives"] = ["Kernels", "Sharding", "Protos", "Links"],
        ["Model"] = ["Kernels", "Collectives", "Sharding", "Checkpoint"],
        ["Worker"] = ["Model", "Kernels", "Collectives", "Sharding", "Checkpoint", "Protos", "Links"],
        ["Tokenization"] = ["Checkpoint"],
        ["ChatTemplates"] = [],
        ["Grammar"] = ["Tokenization"],
        ["Gateway"] = ["Protos", "Checkpoint", "Sharding", "Tokenization", "ChatTemplates", "Links", "Grammar"],
        ["Client"] = ["Protos"],
    };

    private static IEnumerable<string> Rooms => Directory.GetDirectories(Path.Combine(TestData.Repository, "src")).Select(path => Path.GetFileName(path)!);

    private static IEnumerable<XElement> Items(string room, string kind) =>
        XDocument.Load(Path.Combine(TestData.Repository, "src", room, room + ".csproj")).Descendants(kind);

    [TestCaseSource(nameof(Rooms))]
    public void Room_ReferencesOnlyTheRoomsItMay(string room)
    {
        Assert.That(Allowed, Does.ContainKey(room), $"src/{room} is not a room of the house");
        // A reference without the assembly only orders the build: the gateway ships the worker's program, it does not link it.
        IEnumerable<string> references = Items(room, "ProjectReference")
            .Where(item => (string?)item.Attribute("ReferenceOutputAssembly") != "false")
            .Select(item => Path.GetFileNameWithoutExtension(((string)item.Attribute("Include")!).Replace('\\', '/')));
        Assert.That(references, Is.SubsetOf(Allowed[room]));
    }

    [TestCase("Gateway", "ILGPU")]
    [TestCase("Model", "Grpc")]
    [TestCase("Model", "Serilog")]
    [TestCase("Kernels", "Grpc")]
    [TestCase("Sharding", "Grpc")]
    [TestCase("Checkpoint", "Grpc")]
    public void Room_NeverUsesPackage(string room, string prefix)
    {
        IEnumerable<string> packages = Items(room, "PackageReference").Select(item => (string)item.Attribute("Include")!);
        Assert.That(packages.Where(package => package.StartsWith(prefix, StringComparison.Ordinal)), Is.Empty);
    }

    /// <summary>What a room uses of another is public, and so a contract. Tests may see inside.</summary>
    [TestCaseSource(nameof(Rooms))]
    public void Room_ShowsItsInternalsToNoOtherRoom(string room)
    {
        IEnumerable<string> friends = Items(room, "InternalsVisibleTo").Select(item => (string)item.Attribute("Include")!);
        Assert.That(friends.Intersect(Rooms.Select(other => "TpServe." + other)), Is.Empty);
        IEnumerable<string> sources = Directory.EnumerateFiles(Path.Combine(TestData.Repository, "src", room), "*.cs", SearchOption.AllDirectories)
            .Where(path => !path.Contains("/obj/", StringComparison.Ordinal) && File.ReadAllText(path).Contains("InternalsVisibleTo", StringComparison.Ordinal));
        Assert.That(sources, Is.Empty, "friends stand in the project file");
    }

    [Test]
    public void Packages_HaveTheirVersionInOnePlace()
    {
        foreach (string project in Directory.EnumerateFiles(TestData.Repository, "*.csproj", SearchOption.AllDirectories))
            foreach (XElement package in XDocument.Load(project).Descendants("PackageReference"))
                Assert.That(package.Attribute("Version"), Is.Null, $"{project}: {package}");
    }
}
