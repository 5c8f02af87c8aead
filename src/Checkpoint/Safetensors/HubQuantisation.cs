using System.Buffers.Binary;
using System.Globalization;
using TpServe.Checkpoint.Config;

namespace TpServe.Checkpoint.Safetensors;

/// <summary>Finds the quantised matrices of a hub folder among its tensors and lists each as one; what it cannot read exactly it refuses by name.</summary>
/// <remarks>
/// 1. quantization_config names the method and what of it the tensors do not tell.
/// 2. A module is quantised where tensors of the method stand under its name; others are plain, as the lists of modules not to convert say.
/// 3. Numbers of bits and groups follow from shapes; each is checked against every other.
/// Errors  <see cref="ModelLoadException"/> naming the key or the tensor, what was expected and what was found.
/// </remarks>
internal sealed class HubQuantisation(string path, JsonSection config, TensorTable table, List<string> warnings)
{
    /// <summary>What is read, for people.</summary>
    internal const string Methods = "awq (gemm), gptq, compressed-tensors (pack-quantized, int-quantized, naive-quantized, float-quantized), fp8, mxfp4";

    // Scales of activations and of caches: the reference computes with both in full precision, as TpServe does with its own.
    private static readonly string[] IgnoredEndings = [".input_scale", ".output_scale", ".k_scale", ".v_scale", ".q_scale", ".input_zero_point", ".weight_shape"];

    /// <summary>Lists the quantised matrices of a folder whose configuration says that there are some.</summary>
    public static void Assemble(string path, JsonSection root, TensorTable table, List<string> warnings)
    {
        string key = root.IsObject("quantization_config") ? "quantization_config" : "compression_config";
        if (root.IsObject(key))
            new HubQuantisation(path, root.Object(key)!, table, warnings).Assemble();
        foreach (TensorInfo tensor in table.Tensors.Values)
            if (tensor.Type is TensorType.F8_E4M3)
                throw new ModelLoadException($"{path}: tensor '{tensor.FileName}' is {tensor.Type} and has no scale beside it.");
    }

    private void Assemble()
    {
        string method = config.String("quant_method") ?? "unnamed";
        switch (method)
        {
            case "awq":
                Require("version", "gemm", "gemm");
                AssembleAll(".qweight", Awq);
                break;
            case "gptq":
                if (config.Bool("is_marlin_format") is true)
                    throw config.Fault("is_marlin_format", $"is true; supported are: {Methods}");
                string format = config.String("checkpoint_format") ?? "gptq";
                if (format is not ("gptq" or "gptq_v2"))
                    throw config.Fault("checkpoint_format", $"is '{format}'; supported are gptq and gptq_v2");
                AssembleAll(".qweight", name => Gptq(name, config.RequiredInt("bits", 1, 32), format == "gptq" ? 1 : 0));
                break;
            case "compressed-tensors":
                CompressedTensors();
                break;
            case "fp8":
                Require("fmt", "e4m3", "e4m3");
                AssembleAll(".weight_scale_inv", Scaled);
                AssembleAll(".weight_scale", Scaled);
                break;
            case "mxfp4":
                AssembleAll("_blocks", Mxfp4);
                break;
            default:
                throw config.Fault("quant_method", $"is '{method}'; supported are: {Methods}");
        }
        TensorInfo[] decoded = [.. table.Tensors.Values.Where(tensor => tensor is { Storage: not null, Type: TensorType.F32 })];
        if (decoded.Length > 0)
            warnings.Add(string.Create(
                CultureInfo.InvariantCulture, $"{decoded.Length} quantised matrices are held as F32, {decoded.Sum(tensor => tensor.HeldBytes) >> 20} MiB: no smaller layout has their values exactly (groups out of order or not of whole 32 inputs, or zeros of 8 bits)."));
        string[] ignored = [.. table.Tensors.Keys.Where(name => IgnoredEndings.Any(ending => name.EndsWith(ending, StringComparison.Ordinal))).Order(StringComparer.Ordinal)];
        foreach (string name in ignored)
            table.Ignore(table.Tensors[name]);
        string[] scales = [.. ignored.Where(name => !name.EndsWith(".weight_shape", StringComparison.Ordinal))];
        if (scales.Length > 0)
            warnings.Add(string.Create(CultureInfo.InvariantCulture, $"{scales.Length} scales of activations and caches are not used ('{scales[0]}' is the first): both are computed with as the settings say."));
    }

    private void CompressedTensors()
    {
        string format = config.String("format") ?? throw config.Missing("format");
        if (config.Object("sparsity_config")?.String("format") is { } sparsity and not "dense")
            throw config.Fault("sparsity_config", $"has the format '{sparsity}'; supported is dense");
        switch (format)
        {
            case "pack-quantized":
                AssembleAll(".weight_packed", Packed);
                break;
            case "int-quantized" or "naive-quantized" or "float-quantized":
                AssembleAll(".weight_scale", Scaled);
                break;
            default:
                throw config.Fault("format", $"is '{format}'; supported are: {Methods}");
        }
    }

    private void AssembleAll(string ending, Func<string, TensorInfo> assemble)
    {
        foreach (string name in table.Tensors.Keys.Where(name => name.EndsWith(ending, StringComparison.Ordinal)).ToArray())
            table.Assemble(assemble(name[..^ending.Length]));
    }

    private void Require(string key, string expected, string absent)
    {
        if ((config.String(key) ?? absent) is { } found && !found.Equals(expected, StringComparison.OrdinalIgnoreCase))
            throw config.Fault(key, $"is '{found}'; supported is {expected}");
    }

    // qweight [in, out / 8], qzeros [G, out / 8], scales [G, out].
    private TensorInfo Awq(string module)
    {
        int bits = config.RequiredInt("bits", 1, 32);
        if (bits != 4)
            throw config.Fault("bits", $"is {bits}; AWQ is read with 4");
        TensorInfo codes = Words(Part(module, ".qweight")), scales = Part(module, ".scales"), zeros = Words(Part(module, ".qzeros"));
        int inputs = codes.Shape[0], outputs = Extent(codes, codes.Shape[1] * 8L), groups = scales.Shape[0];
        Check(scales, [groups, outputs]);
        Check(zeros, [groups, outputs / 8]);
        return Matrix(module, Grouped(scales, inputs, groups), outputs, inputs, new(StorageForm.Awq, codes, scales) { Zeros = zeros, Bits = 4, Group = Group(scales, inputs, groups) });
    }

    // qweight [in · bits / 32, out], qzeros [G, out · bits / 32], scales [G, out], g_idx [in].
    private TensorInfo Gptq(string module, int bits, int zeroOffset)
    {
        if (bits is not (2 or 4 or 8))
            throw config.Fault("bits", $"is {bits}; GPTQ is read with 2, 4 and 8");
        TensorInfo codes = Words(Part(module, ".qweight")), scales = Part(module, ".scales"), zeros = Words(Part(module, ".qzeros"));
        int perWord = 32 / bits, inputs = Extent(codes, (long)codes.Shape[0] * perWord), outputs = codes.Shape[1], groups = scales.Shape[0];
        Check(scales, [groups, outputs]);
        Check(zeros, [groups, (outputs + perWord - 1) / perWord]);
        TensorInfo? order = Order(module, ".g_idx", inputs, groups, out int group);
        bool isSymmetric = config.Bool("sym") ?? true;
        QuantisedStorage storage = new(StorageForm.Gptq, codes, scales) { Zeros = zeros, Order = order, Bits = bits, Group = group, ZeroOffset = zeroOffset };
        TensorType type = order is not null ? TensorType.F32
            : bits < 8 ? Grouped(scales, inputs, groups)
            : isSymmetric && group % 32 == 0 && inputs % 32 == 0 ? TensorType.INT8 : TensorType.F32; // codes from 0 with any zero need nine bits
        return Matrix(module, type, outputs, inputs, storage);
    }

    // weight_packed [out, in · bits / 32], weight_scale [out, G], weight_zero_point [out · bits / 32, G], weight_g_idx [in].
    private TensorInfo Packed(string module)
    {
        TensorInfo codes = Words(Part(module, ".weight_packed")), scales = Part(module, ".weight_scale");
        IReadOnlyList<int> shape = Shape(module, codes);
        (int outputs, int inputs) = (shape[0], shape[1]);
        int bits = (int)(32L * codes.Shape[1] / inputs), groups = scales.Shape[1];
        if (bits is not (4 or 8) || (long)inputs * bits != 32L * codes.Shape[1] || codes.Shape[0] != outputs)
            throw Wrong(codes, $"words of 4 or 8 bits for [{outputs}, {inputs}]");
        Check(scales, [outputs, groups]);
        TensorInfo? order = Order(module, ".weight_g_idx", inputs, groups, out int group);
        TensorInfo? zeros = table.Tensors.ContainsKey(module + ".weight_zero_point") ? Words(Part(module, ".weight_zero_point")) : null;
        int perWord = 32 / bits;
        if (zeros is not null)
            Check(zeros, [(outputs + perWord - 1) / perWord, groups]);
        QuantisedStorage storage = new(StorageForm.Packed, codes, scales) { Zeros = zeros, Order = order, Bits = bits, Group = group };
        TensorType type = order is not null ? TensorType.F32
            : bits == 4 ? Grouped(scales, inputs, groups)
            : zeros is null && group % 32 == 0 && inputs % 32 == 0 ? TensorType.INT8 : TensorType.F32;
        return Matrix(module, type, outputs, inputs, storage);
    }

    // weight [out, in] of bytes; a scale for all, for each output, or for each block.
    private TensorInfo Scaled(string module)
    {
        string scaleName = table.Tensors.ContainsKey(module + ".weight_scale_inv") ? ".weight_scale_inv" : ".weight_scale";
        TensorInfo codes = Part(module, ".weight"), scales = Part(module, scaleName);
        if (codes.Type is not (TensorType.F8_E4M3 or TensorType.I8) || codes.Shape.Count != 2)
            throw Wrong(codes, "F8_E4M3 or I8 of two dimensions");
        if (table.Tensors.ContainsKey(module + ".weight_zero_point"))
            throw Wrong(Part(module, ".weight_zero_point"), "no zeros beside weights of 8 bits");
        int outputs = codes.Shape[0], inputs = codes.Shape[1];
        (int groupOutputs, int group) = Blocks(scales, outputs, inputs);
        StorageForm form = codes.Type is TensorType.I8 ? StorageForm.Integers : StorageForm.Floats8;
        bool isAligned = inputs % 32 == 0 && (group % 32 == 0 || group >= inputs);
        TensorType type = !isAligned ? TensorType.F32 : form is StorageForm.Integers ? TensorType.INT8 : TensorType.FP8;
        return Matrix(module, type, outputs, inputs, new(form, codes, scales) { Group = group, GroupOutputs = groupOutputs });
    }

    // gpt-oss: [experts, out, in / 32, 16] and [experts, out, in / 32].
    private TensorInfo Mxfp4(string name)
    {
        TensorInfo codes = Part(name, "_blocks"), scales = Part(name, "_scales");
        int[] outer = [.. codes.Shape.Take(codes.Shape.Count - 2)];
        if (codes.Type is not TensorType.U8 || codes.Shape.Count < 3 || codes.Shape[^1] != 16)
            throw Wrong(codes, "U8 [.., out, in / 32, 16]");
        if (scales.Type is not TensorType.U8)
            throw Wrong(scales, "U8");
        Check(scales, [.. outer, codes.Shape[^2]]);
        int inputs = Extent(codes, codes.Shape[^2] * 32L);
        return new TensorInfo(name, TensorType.MXFP4, [.. outer, inputs], RowOrder.Plain)
        {
            FileName = codes.FileName,
            Storage = new QuantisedStorage(StorageForm.Mxfp4, codes, scales) { Bits = 4, Group = 32 },
        };
    }

    private static TensorInfo Matrix(string module, TensorType type, int outputs, int inputs, QuantisedStorage storage) =>
        new(module + ".weight", type, [outputs, inputs], RowOrder.Plain) { FileName = storage.Codes.FileName, Storage = storage };

    /// <summary>What codes of four bits with scales of groups become: 32 inputs that share a scale of 16 bits, or what holds their products.</summary>
    private TensorType Grouped(TensorInfo scales, int inputs, int groups) => (Group(scales, inputs, groups) % 32, inputs % 32, scales.Type) switch
    {
        (0, 0, TensorType.F16) => TensorType.INT4_F16,
        (0, 0, TensorType.BF16) => TensorType.INT4_BF16,
        _ => TensorType.F32,
    };

    private int Group(TensorInfo scales, int inputs, int groups) => inputs % groups == 0 ? inputs / groups : throw Wrong(scales, $"groups that divide {inputs} inputs");

    /// <summary>The order of the groups, where it is another than one after the other.</summary>
    private TensorInfo? Order(string module, string ending, int inputs, int groups, out int group)
    {
        group = 0;
        if (!table.Tensors.ContainsKey(module + ending))
        {
            group = inputs % groups == 0 ? inputs / groups : throw new ModelLoadException($"{path}: module '{module}': {groups} groups do not divide {inputs} inputs, and there is no '{ending[1..]}'.");
            return null;
        }
        TensorInfo order = Part(module, ending);
        if (order.Type is not TensorType.I32)
            throw Wrong(order, "I32");
        Check(order, [inputs]);
        ReadOnlySpan<byte> bytes = table.Bytes(order);
        bool inOrder = inputs % groups == 0;
        group = inOrder ? inputs / groups : 1;
        for (int k = 0; k < inputs; k++)
        {
            int of = BinaryPrimitives.ReadInt32LittleEndian(bytes[(4 * k)..]);
            if ((uint)of >= (uint)groups)
                throw Wrong(order, $"groups from 0 to {groups - 1} (input {k} has {of})");
            inOrder &= of == k / group;
        }
        if (!inOrder)
            return order;
        table.Ignore(order);
        return null;
    }

    private (int Outputs, int Inputs) Blocks(TensorInfo scales, int outputs, int inputs)
    {
        IReadOnlyList<int> shape = scales.Shape;
        if (!scales.Type.IsPlainFloat())
            throw Wrong(scales, "F32, F16 or BF16");
        if (shape.All(extent => extent == 1))
            return (outputs, inputs);
        if (shape.Count <= 2 && shape[0] == outputs && (shape.Count == 1 || shape[1] == 1))
            return (1, inputs);
        (int rows, int columns) = BlockSize() ?? (1, shape is [_, var groups] && inputs % groups == 0 ? inputs / groups : inputs);
        int[] expected = [(outputs + rows - 1) / rows, (inputs + columns - 1) / columns];
        return shape.SequenceEqual(expected) ? (rows, columns) : throw Wrong(scales, $"a scale for all, for each of {outputs} outputs, or for each block of [{outputs}, {inputs}]");
    }

    /// <summary>Outputs and inputs of a block, where the configuration names them.</summary>
    private (int Rows, int Columns)? BlockSize()
    {
        IEnumerable<IReadOnlyList<int>?> sizes = config.Object("config_groups") is { } groups
            ? groups.ObjectMembers().Select(member => member.Value.Object("weights")?.Ints("block_structure", 1, int.MaxValue))
            : [config.Ints("weight_block_size", 1, int.MaxValue)];
        return sizes.FirstOrDefault(size => size is [_, _]) is { } found ? (found[0], found[1]) : null;
    }

    private IReadOnlyList<int> Shape(string module, TensorInfo codes)
    {
        if (!table.Tensors.TryGetValue(module + ".weight_shape", out TensorInfo? given))
            return [codes.Shape[0], Extent(codes, codes.Shape[1] * 8L)];
        if (given.Type is not (TensorType.I64 or TensorType.I32) || given.Shape is not [2])
            throw Wrong(given, "I64 [2]");
        ReadOnlySpan<byte> bytes = table.Bytes(given);
        int size = given.Type.BlockBytes();
        long[] extents = new long[2];
        for (int i = 0; i < 2; i++)
            extents[i] = size == 8 ? BinaryPrimitives.ReadInt64LittleEndian(bytes[(8 * i)..]) : BinaryPrimitives.ReadInt32LittleEndian(bytes[(4 * i)..]);
        return extents.All(extent => extent is > 0 and <= int.MaxValue) ? [(int)extents[0], (int)extents[1]] : throw Wrong(given, "two sizes");
    }

    private TensorInfo Part(string module, string ending) => table.Tensors.TryGetValue(module + ending, out TensorInfo? part)
        ? part
        : throw new ModelLoadException($"{path}: tensor '{module}{ending}' is missing: module '{module}' is quantised as '{config.String("quant_method")}'.");

    private TensorInfo Words(TensorInfo tensor) => tensor is { Type: TensorType.I32, Shape.Count: 2 } ? tensor : throw Wrong(tensor, "I32 of two dimensions");

    private void Check(TensorInfo tensor, IReadOnlyList<int> shape)
    {
        if (!tensor.Shape.SequenceEqual(shape))
            throw Wrong(tensor, $"[{string.Join(", ", shape)}]");
    }

    private int Extent(TensorInfo tensor, long extent) => extent is > 0 and <= int.MaxValue ? (int)extent : throw Wrong(tensor, $"a size from 1 to {int.MaxValue}");

    private ModelLoadException Wrong(TensorInfo tensor, string expected) =>
        new($"{path}: tensor '{tensor.FileName}': expected {expected}, found {tensor.Type} [{string.Join(", ", tensor.Shape)}].");
}
