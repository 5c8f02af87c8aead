using System.CommandLine;
using System.Globalization;
using TpServe.Gateway.Access;
using TpServe.Gateway.Settings;

namespace TpServe.Gateway.Commands;

/// <summary>tpserve keys add, list, remove: the keys of a server, in the file that it is started with. A running server sees the change within seconds.</summary>
internal static class KeysCommand
{
    public static Command Create(SettingSources sources)
    {
        Command keys = new("keys", "Adds, lists and removes the keys without which a server with --keys answers nobody.") { Add(sources), List(sources), Remove(sources) };
        return keys;
    }

    private static Command Add(SettingSources sources)
    {
        Argument<string> name = new("NAME") { Description = $"Who the key is for: {AccessKey.NameInWords}." };
        Option<string> scope = new("--scope") { Description = "generate: ask for answers. admin: that, and drain, flush, trace, topology, report, and the requests of others.", HelpName = "generate|admin", DefaultValueFactory = _ => "generate" };
        Option<int?> requests = Limit("--requests-per-minute", "Calls a minute."), streams = Limit("--streams", "Calls at once."), tokens = Limit("--tokens-per-minute", "Prompt and generated tokens a minute.");
        Command add = new("add", "Makes a key, prints it once, and keeps what it is recognised by.") { name, scope, requests, streams, tokens };
        SettingFlags file = File(add);
        add.SetAction(parsed =>
        {
            string called = parsed.GetValue(name)!;
            if (!AccessKey.IsName(called))
                return Fail($"'{called}' is no name of {AccessKey.NameInWords}.");
            if (!KeyFile.TryScope(parsed.GetValue(scope)!, out KeyScope asked))
                return Fail($"--scope: '{parsed.GetValue(scope)}' is not one of generate, admin.");
            KeyLimits limits = new(parsed.GetValue(requests), parsed.GetValue(streams), parsed.GetValue(tokens));
            if (new[] { limits.RequestsPerMinute, limits.Streams, limits.TokensPerMinute }.Any(limit => limit is < 1 or > KeyLimits.Most))
                return Fail($"a limit is not within 1..{KeyLimits.Most}.");
            string text = AccessKey.NewText();
            return Change(sources, file.Given(parsed), keys =>
            {
                if (keys.Any(key => key.Name == called))
                    throw new KeyFileException($"there is a key '{called}' already; 'tpserve keys remove {called}' takes it away.");
                if (keys.Count >= KeyFile.MostKeys)
                    throw new KeyFileException($"there are {KeyFile.MostKeys} keys, which is the most.");
                return [.. keys, new AccessKey(called, asked, AccessKey.HashOf(text), TimeProvider.System.GetUtcNow(), limits)];
            }, () =>
            {
                Console.Error.WriteLine($"Key '{called}' of scope {KeyFile.WordOf(asked)}; it is shown this once:");
                Console.WriteLine(text); // alone on standard output, so that a script can keep it
            });
        });
        return add;
    }

    private static Command List(SettingSources sources)
    {
        Command list = new("list", "Names the keys, with scope, limits and age.");
        SettingFlags file = File(list);
        list.SetAction(parsed =>
        {
            try
            {
                string path = PathOf(sources, file.Given(parsed));
                foreach (AccessKey key in KeyFile.Parse(path, KeyFile.ReadBytes(path)))
                    Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                        $"{key.Name,-24} {KeyFile.WordOf(key.Scope),-8} {key.Created:yyyy-MM-dd}  {Text(key.Limits.RequestsPerMinute, "requests/min")}{Text(key.Limits.Streams, "streams")}{Text(key.Limits.TokensPerMinute, "tokens/min")}").TrimEnd());
                return 0;
            }
            catch (KeyFileException fault)
            {
                return Fail(fault.Message);
            }
        });
        return list;

        static string Text(int? limit, string what) => limit is { } most ? string.Create(CultureInfo.InvariantCulture, $"{most} {what}  ") : "";
    }

    private static Command Remove(SettingSources sources)
    {
        Argument<string> name = new("NAME") { Description = "The key." };
        Command remove = new("remove", "Takes a key away. Requests that it has begun go on.") { name };
        SettingFlags file = File(remove);
        remove.SetAction(parsed => Change(
            sources, file.Given(parsed),
            keys => keys.Any(key => key.Name == parsed.GetValue(name)) ? [.. keys.Where(key => key.Name != parsed.GetValue(name))] : throw new KeyFileException($"there is no key '{parsed.GetValue(name)}'."),
            () => Console.WriteLine($"Key '{parsed.GetValue(name)}' is removed.")));
        return remove;
    }

    private static Option<int?> Limit(string flag, string what) => new(flag) { Description = what + " Default: no limit.", HelpName = "N" };

    private static SettingFlags File(Command command) => SettingFlags.AddTo(command, [SettingsTable.Of(nameof(GatewayOptions.Keys))]);

    private static int Change(SettingSources sources, IReadOnlyList<GivenSetting> given, Func<IReadOnlyList<AccessKey>, IReadOnlyList<AccessKey>> change, Action done)
    {
        try
        {
            KeyFile.Change(PathOf(sources, given), change);
        }
        catch (KeyFileException fault)
        {
            return Fail(fault.Message);
        }
        done();
        return 0;
    }

    // The file need not be there yet, and other settings may be wrong: neither is this command's matter.
    private static string PathOf(SettingSources sources, IReadOnlyList<GivenSetting> given) =>
        GatewaySettings.Read(sources, given).Options.Keys is { Length: > 0 } path ? path : throw new KeyFileException("--keys FILE is needed, or TPSERVE_KEYS.");

    private static int Fail(string reason)
    {
        UsageFault.Tell(reason);
        return 1;
    }
}
