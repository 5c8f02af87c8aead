// Runs a built test assembly in this process, for runtimes that no test host starts on (tests/arm64.sh):
//   TpServe.TestRunner ASSEMBLY main     the assembly's own Main
//   TpServe.TestRunner ASSEMBLY REGEX    its tests whose full names match
using System.Globalization;
using System.Reflection;
using System.Runtime.Loader;
using TpServe.TestRunner;

if (args.Length != 2)
{
    Console.Error.WriteLine("usage: TpServe.TestRunner ASSEMBLY main|REGEX");
    return 2;
}
string path = Path.GetFullPath(args[0]), folder = Path.GetDirectoryName(path)!;

// The assembly finds its data and its references where it was built, as under a test host.
AppContext.SetData("APP_CONTEXT_BASE_DIRECTORY", folder + "/");
AssemblyLoadContext.Default.Resolving += (context, name) =>
    File.Exists(Path.Combine(folder, name.Name + ".dll")) ? context.LoadFromAssemblyPath(Path.Combine(folder, name.Name + ".dll")) : null;
Assembly assembly = AssemblyLoadContext.Default.LoadFromAssemblyPath(path);

if (args[1] == "main")
    return assembly.EntryPoint!.Invoke(null, [Array.Empty<string>()]) as int? ?? 0;
(int passed, int failed) = TestRun.Of(assembly, args[1], Console.Out);
Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{passed} passed, {failed} failed"));
return failed == 0 && passed > 0 ? 0 : 1;
