using System.Text;

namespace TpServe.Tokenization.Decoders;

/// <summary>A run of byte pieces → its text where all of it is valid UTF-8, else U+FFFD for every byte.</summary>
/// <remarks>
/// Since a byte may spoil the characters before it, a run is given out only when it has ended.
/// </remarks>
internal sealed class ByteFallbackStage : WholeTokenStage
{
    private static readonly UTF8Encoding Strict = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);
    private readonly List<byte> _run = [];

    public override void Finish()
    {
        EndRun();
        Next.Finish();
    }

    protected override void AcceptToken(string token)
    {
        if (BytePiece.TryParse(token, out byte value))
        {
            _run.Add(value);
            return;
        }
        EndRun();
        Next.Accept(token, endsToken: true);
    }

    private void EndRun()
    {
        if (_run.Count == 0)
            return;
        byte[] bytes = [.. _run];
        _run.Clear();
        if (System.Text.Unicode.Utf8.IsValid(bytes))
        {
            Next.Accept(Strict.GetString(bytes), endsToken: true);
            return;
        }
        for (int i = 0; i < bytes.Length; i++)
            Next.Accept("\uFFFD", endsToken: true);
    }
}
