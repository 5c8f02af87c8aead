using System.CommandLine;
using System.Globalization;
using System.Security.Cryptography;
using TpServe.Links;

namespace TpServe.Gateway.Commands;

/// <summary>tpserve secret: writes what the processes of a group share, before they are started on several hosts; overwrites nothing.</summary>
internal static class SecretCommand
{
    private const int SecretBytes = 32;
    private const int LongestName = 64; // of a common name, X.520

    public static Command Create()
    {
        Option<string> file = new("--file") { Description = "Writes a new secret for --secret-file to this file.", HelpName = "FILE" };
        Option<string> tls = new(LinkSecurity.TlsFlag) { Description = $"Writes a new key and certificate for --tls to this folder: {GroupCertificate.KeyFile} and {GroupCertificate.CertificateFile}.", HelpName = "DIR" };
        Option<int> days = new("--days") { Description = "How long the certificate holds, 1 to 36500.", HelpName = "N", DefaultValueFactory = _ => 730 };
        Option<string> name = new("--name") { Description = "Name in the certificate, for whoever looks at it; nobody is trusted by it.", HelpName = "TEXT", DefaultValueFactory = _ => "tpserve" };
        Command secret = new("secret", "Writes the secret (--file) and the certificate (--tls) that gateway and workers of several hosts share; copy them to every host.") { file, tls, days, name };
        secret.SetAction(parsed => Run(parsed.GetValue(file), parsed.GetValue(tls), parsed.GetValue(days), parsed.GetValue(name)!));
        return secret;
    }

    private static int Run(string? file, string? folder, int days, string name)
    {
        if (string.IsNullOrEmpty(file) && string.IsNullOrEmpty(folder))
            return Fail("--file FILE or --tls DIR is needed, or both.");
        if (days is < 1 or > 36_500)
            return Fail(string.Create(CultureInfo.InvariantCulture, $"--days: {days} is not in 1..36500."));
        if (name.Length is 0 or > LongestName)
            return Fail(string.Create(CultureInfo.InvariantCulture, $"--name: it has {name.Length} letters, of 1..{LongestName}."));
        try
        {
            if (!string.IsNullOrEmpty(folder))
            {
                GroupCertificate.Write(folder, name, days, TimeProvider.System);
                Console.WriteLine($"{folder}: {GroupCertificate.Read(folder)}");
            }
            if (!string.IsNullOrEmpty(file))
            {
                SecretFile.Write(file, Convert.ToHexStringLower(RandomNumberGenerator.GetBytes(SecretBytes)));
                Console.WriteLine($"{file}: a secret of {SecretBytes} bytes");
            }
            return 0;
        }
        catch (LinkException fault)
        {
            return Fail(fault.Message);
        }
    }

    private static int Fail(string reason)
    {
        UsageFault.Tell(reason);
        return 1;
    }
}
