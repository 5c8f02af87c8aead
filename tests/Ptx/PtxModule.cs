using TpServe.Ptx.Machine;
using TpServe.Ptx.Text;

namespace TpServe.Ptx;

/// <summary>A module of PTX, parsed and decoded.</summary>
public sealed class PtxModule
{
    private PtxModule(Parser text)
    {
        Version = text.Version;
        Target = text.Target;
        Program = new PtxProgram(text);
        Kernels = [.. text.Functions.Where(function => function.IsKernel).Select(function => new PtxKernel(
            function.Name,
            [.. function.Parameters.Select(parameter => new PtxParameter(parameter.Name, parameter.Offset, parameter.Bytes, parameter.Align))]))];
    }

    /// <summary>The PTX version, such as 8.0.</summary>
    public string Version { get; }

    /// <summary>The target, such as sm_80.</summary>
    public string Target { get; }

    /// <summary>The kernels, in the order of the text.</summary>
    public IReadOnlyList<PtxKernel> Kernels { get; }

    /// <summary>Shared memory declared with a size, all of the module, in bytes.</summary>
    public int StaticSharedBytes => Program.StaticSharedBytes;

    /// <summary>Local memory of a thread, in bytes.</summary>
    public int LocalBytes => Program.LocalBytes;

    internal PtxProgram Program { get; }

    /// <summary>Parses and decodes the text.</summary>
    /// <exception cref="PtxException">The text is wrong, or holds an instruction the interpreter does not have; the message names the line.</exception>
    public static PtxModule Parse(string ptx)
    {
        Parser parser = new(ptx);
        parser.Read();
        return new PtxModule(parser);
    }
}
