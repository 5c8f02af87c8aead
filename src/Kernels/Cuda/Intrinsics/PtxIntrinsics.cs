using System.Globalization;
using System.Reflection;
using System.Text;
using ILGPU;
using ILGPU.Backends.PTX;
using ILGPU.IR;
using ILGPU.IR.Intrinsics;
using ILGPU.IR.Values;
using CompoundRegister = ILGPU.Backends.RegisterAllocator<ILGPU.Backends.PTX.PTXRegisterKind>.CompoundRegister;
using HardwareRegister = ILGPU.Backends.RegisterAllocator<ILGPU.Backends.PTX.PTXRegisterKind>.HardwareRegister;
using PrimitiveRegister = ILGPU.Backends.RegisterAllocator<ILGPU.Backends.PTX.PTXRegisterKind>.PrimitiveRegister;
using Register = ILGPU.Backends.RegisterAllocator<ILGPU.Backends.PTX.PTXRegisterKind>.Register;

namespace TpServe.Kernels.Cuda.Intrinsics;

/// <summary>Teaches ILGPU's PTX backend the methods that carry a <see cref="PtxAttribute"/>.</summary>
/// <remarks>
/// CudaAsm.Emit takes results by reference, which puts them into local memory; an intrinsic's result is a register (or several, for a structure)
/// that the register allocator knows. So tensor-core fragments stay in registers across loops.
/// </remarks>
internal static class PtxIntrinsics
{
    /// <summary>Registers every PTX method of this assembly with a context that is being built.</summary>
    public static void Register(Context.Builder builder)
    {
        IntrinsicImplementationManager manager = builder.GetIntrinsicManager();
        MethodInfo handler = typeof(PtxIntrinsics).GetMethod(nameof(Generate), BindingFlags.NonPublic | BindingFlags.Static)!;
        foreach (MethodInfo method in Methods())
            manager.RegisterMethod(method, new PTXIntrinsic(handler, IntrinsicImplementationMode.GenerateCode));
    }

    /// <summary>All methods with PTX of their own.</summary>
    public static IEnumerable<MethodInfo> Methods() =>
        typeof(PtxIntrinsics).Assembly.GetTypes()
            .SelectMany(type => type.GetMethods(BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly))
            .Where(method => method.GetCustomAttribute<PtxAttribute>() is not null);

    private static void Generate(PTXBackend backend, PTXCodeGenerator generator, Value value)
    {
        MethodCall call = (MethodCall)value;
        string text = call.Target.Source.GetCustomAttribute<PtxAttribute>()!.Text;
        string[] operands = new string[call.Count + 1];
        for (int i = 0; i < call.Count; i++)
            operands[i + 1] = Operand(generator, generator.Load(call[i]));
        operands[0] = call.Type.IsVoidType ? "" : Operand(generator, generator.Allocate(value));

        StringBuilder line = new StringBuilder("\t").Append(text);
        for (int i = 0; i < operands.Length; i++)
            line.Replace(string.Create(CultureInfo.InvariantCulture, $"{{{i}}}"), operands[i]);
        generator.Builder.AppendLine(line.ToString());
    }

    private static string Operand(PTXCodeGenerator generator, Register register) => register is CompoundRegister compound
        ? "{" + string.Join(", ", compound.Children.Select(child => Operand(generator, child))) + "}"
        : Name(generator.EnsureHardwareRegister((PrimitiveRegister)register));

    /// <summary>A register as ILGPU's own instructions write it.</summary>
    private static string Name(HardwareRegister register)
    {
        string prefix = register.Kind switch
        {
            PTXRegisterKind.Predicate => "%p",
            PTXRegisterKind.Int16 => "%rs",
            PTXRegisterKind.Int32 => "%r",
            PTXRegisterKind.Int64 => "%rd",
            PTXRegisterKind.Float32 => "%f",
            PTXRegisterKind.Float64 => "%fd",
            _ => throw new NotSupportedException($"A PTX operand cannot be a register of kind {register.Kind}."),
        };
        return string.Create(CultureInfo.InvariantCulture, $"{prefix}{register.RegisterValue}");
    }
}

/// <summary>The PTX a call of this method becomes on a GPU; its managed body is what ILGPU's CPU accelerator runs.</summary>
/// <remarks>
/// In the text {0} is the result, {1}, {2}, … are the arguments; a structure of n registers is written as {r0, r1, …}. A method without result counts
/// its arguments from {1} too. The method carries ILGPU's IntrinsicImplementation attribute as well, so that its body is never compiled for a GPU.
/// </remarks>
/// <param name="text">One or more instructions, each ended by a semicolon.</param>
[AttributeUsage(AttributeTargets.Method)]
internal sealed class PtxAttribute(string text) : Attribute
{
    /// <summary>The instructions.</summary>
    public string Text => text;
}
