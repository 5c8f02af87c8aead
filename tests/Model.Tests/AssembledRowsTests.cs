using System.Buffers.Binary;
using System.Text;
using System.Text.Json.Nodes;
using NUnit.Framework;
using TpServe.Checkpoint;
using TpServe.Kernels;
using TpServe.Kernels.Reference;
using TpServe.Model.Weights;

namespace TpServe.Model.Tests;

/// <summary>Quantised matrices of hub folders: every form, written code by code, is read back as scale · (code − zero), and parts of rows as the whole.</summary>
public sealed class AssembledRowsTests
{
    private const int Outputs = 24, Inputs = 192;
    private const string Module = "model.layers.0.mlp.up_proj";

    private static readonly int[] AwqOrder = [0, 2, 4, 6, 1, 3, 5, 7];

    private readonly Random _random = new(5);
    private readonly List<(string Name, string Type, int[] Shape, byte[] Data)> _tensors = [];
    private string _folder = null!;

    [SetUp]
    public void CreateFolder()
    {
        _folder = Directory.CreateTempSubdirectory("tpserve-quantised-").FullName;
        _tensors.Clear();
        _tensors.Add(("model.norm.weight", "F32", [2], new byte[8]));
    }

    [TearDown]
    public void DeleteFolder() => Directory.Delete(_folder, recursive: true);

    [TestCase(32, "F16", WeightFormat.INT4_F16)]
    [TestCase(64, "BF16", WeightFormat.INT4_BF16)]
    [TestCase(192, "F16", WeightFormat.INT4_F16)]
    [TestCase(16, "F16", WeightFormat.F32)]
    [TestCase(64, "F32", WeightFormat.F32)]
    public void Awq_AnyGroupAndScale_IsReadExactly(int group, string scaleType, WeightFormat format)
    {
        (int[,] codes, int[,] zeros, float[,] scales) = Draw(15, group, scaleType);
        Words(".qweight", Inputs, Outputs / 8, 4, (row, word, i) => codes[(word * 8) + AwqOrder[i], row]);
        Words(".qzeros", Inputs / group, Outputs / 8, 4, (row, word, i) => zeros[(word * 8) + AwqOrder[i], row]);
        Floats(".scales", scaleType, Inputs / group, Outputs, (row, column) => scales[column, row]);
        Check("\"quant_method\": \"awq\", \"bits\": 4, \"version\": \"gemm\"", format, (output, k) => scales[output, k / group] * (codes[output, k] - zeros[output, k / group]));
    }

    [TestCase(4, 64, "gptq", false, WeightFormat.INT4_F16)]
    [TestCase(4, 32, "gptq_v2", false, WeightFormat.INT4_F16)]
    [TestCase(2, 64, "gptq", false, WeightFormat.INT4_F16)]
    [TestCase(8, 64, "gptq", false, WeightFormat.F32)]
    [TestCase(4, 64, "gptq", true, WeightFormat.F32)]
    [TestCase(8, 32, "gptq", true, WeightFormat.F32)]
    public void Gptq_AnyBitsAndOrder_IsReadExactly(int bits, int group, string version, bool shuffled, WeightFormat format)
    {
        int perWord = 32 / bits, offset = version == "gptq" ? 1 : 0;
        (int[,] codes, int[,] zeros, float[,] scales) = Draw((1 << bits) - 1, group, "F16");
        int[] order = [.. Enumerable.Range(0, Inputs).Select(k => k / group)];
        if (shuffled)
            _random.Shuffle(order);
        Words(".qweight", Inputs / perWord, Outputs, bits, (row, column, i) => codes[column, (row * perWord) + i]);
        Words(
            ".qzeros", Inputs / group, (Outputs + perWord - 1) / perWord, bits, (row, word, i) => (word * perWord) + i < Outputs ? zeros[(word * perWord) + i, row] - offset : 0);
        Floats(".scales", "F16", Inputs / group, Outputs, (row, column) => scales[column, row]);
        Add(".g_idx", "I32", [Inputs], [.. order.SelectMany(BitConverter.GetBytes)]);
        Check(
            $"\"quant_method\": \"gptq\", \"bits\": {bits}, \"sym\": false, \"desc_act\": true, \"checkpoint_format\": \"{version}\"", format,
            (output, k) => scales[output, order[k]] * (codes[output, k] - zeros[output, order[k]]));
    }

    [Test]
    public void Gptq_EightBitsSymmetric_AreSignedBytes()
    {
        (int[,] codes, _, float[,] scales) = Draw(255, 64, "F16");
        Words(".qweight", Inputs / 4, Outputs, 8, (row, column, i) => codes[column, (row * 4) + i]);
        Words(".qzeros", Inputs / 64, Outputs / 4, 8, (_, _, _) => 127);
        Floats(".scales", "F16", Inputs / 64, Outputs, (row, column) => scales[column, row]);
        Check("\"quant_method\": \"gptq\", \"bits\": 8, \"sym\": true", WeightFormat.INT8, (output, k) => scales[output, k / 64] * (codes[output, k] - 128));
    }

    [TestCase(4, false, "BF16", WeightFormat.INT4_BF16)]
    [TestCase(4, true, "F16", WeightFormat.INT4_F16)]
    [TestCase(8, false, "BF16", WeightFormat.INT8)]
    [TestCase(8, true, "BF16", WeightFormat.F32)]
    public void PackQuantized_WithAndWithoutZeros_IsReadExactly(int bits, bool hasZeros, string scaleType, WeightFormat format)
    {
        int perWord = 32 / bits, middle = 1 << (bits - 1);
        (int[,] codes, int[,] zeros, float[,] scales) = Draw((1 << bits) - 1, 64, scaleType);
        Words(".weight_packed", Outputs, Inputs / perWord, bits, (row, word, i) => codes[row, (word * perWord) + i]);
        Floats(".weight_scale", scaleType, Outputs, Inputs / 64, (row, column) => scales[row, column]);
        Add(".weight_shape", "I64", [2], [.. BitConverter.GetBytes((long)Outputs), .. BitConverter.GetBytes((long)Inputs)]);
        if (hasZeros)
            Words(".weight_zero_point", Outputs / perWord, Inputs / 64, bits, (row, column, i) => zeros[(row * perWord) + i, column]);
        Check(
            "\"quant_method\": \"compressed-tensors\", \"format\": \"pack-quantized\"", format,
            (output, k) => scales[output, k / 64] * (codes[output, k] - (hasZeros ? zeros[output, k / 64] : middle)));
    }

    [TestCase("I8", 1, Inputs, "int-quantized", WeightFormat.INT8)]
    [TestCase("F8_E4M3", 1, Inputs, "float-quantized", WeightFormat.FP8)]
    [TestCase("F8_E4M3", Outputs, Inputs, "float-quantized", WeightFormat.FP8)]
    [TestCase("F8_E4M3", 16, 128, "float-quantized", WeightFormat.FP8)]
    [TestCase("F8_E4M3", 16, 24, "float-quantized", WeightFormat.F32)]
    public void Bytes_WithScalesOfAnySize_AreReadExactly(string type, int rows, int columns, string method, WeightFormat format)
    {
        byte[] bytes = new byte[Outputs * Inputs];
        _random.NextBytes(bytes);
        for (int i = 0; i < bytes.Length; i++)
            bytes[i] = (byte)((bytes[i] & 0x7F) == 0x7F ? 0 : bytes[i]);
        int down = (Outputs + rows - 1) / rows, across = (Inputs + columns - 1) / columns;
        float[] scales = [.. Enumerable.Range(0, down * across).Select(_ => 0.01f * (0.5f + _random.NextSingle()))];
        Add(".weight", type, [Outputs, Inputs], bytes);
        Add(".weight_scale", "F32", down * across == 1 ? [] : [down, across], [.. scales.SelectMany(BitConverter.GetBytes)]);
        string blocks = down > 1 && across > 1 ? $", \"block_structure\": [{rows}, {columns}]" : "";
        Check(
            $"\"quant_method\": \"compressed-tensors\", \"format\": \"{method}\", \"config_groups\": {{ \"group_0\": {{ \"weights\": {{ \"num_bits\": 8{blocks} }} }} }}", format,
            (output, k) => scales[(output / rows * across) + (k / columns)] * (type == "I8" ? (sbyte)bytes[(output * Inputs) + k] : FloatValues.E4M3(bytes[(output * Inputs) + k])));
    }

    [Test]
    public void Mxfp4_PairsOfNeighbours_AreReadExactly()
    {
        const int experts = 3, rows = 8;
        float[] table = [0, 0.5f, 1, 1.5f, 2, 3, 4, 6, 0, -0.5f, -1, -1.5f, -2, -3, -4, -6];
        byte[] blocks = new byte[experts * rows * Inputs / 2], exponents = new byte[experts * rows * Inputs / 32];
        _random.NextBytes(blocks);
        for (int i = 0; i < exponents.Length; i++)
            exponents[i] = (byte)_random.Next(118, 126);
        _tensors.Add(("model.layers.0.mlp.experts.down_proj_blocks", "U8", [experts, rows, Inputs / 32, 16], blocks));
        _tensors.Add(("model.layers.0.mlp.experts.down_proj_scales", "U8", [experts, rows, Inputs / 32], exponents));
        using ModelCheckpoint checkpoint = Open("\"quant_method\": \"mxfp4\"");
        TensorInfo matrix = checkpoint.Tensors["model.layers.0.mlp.experts.down_proj"];
        Assert.That((matrix.Type, matrix.Shape), Is.EqualTo((TensorType.MXFP4, new[] { experts, rows, Inputs })));
        TensorRows read = TensorRows.Of(checkpoint, matrix, 0, experts * rows, 1);
        for (int row = 0; row < experts * rows; row++)
        {
            float[] values = new float[Inputs], expected = new float[Inputs];
            Dequantize.Row(WeightFormat.MXFP4, read.Row(row), values);
            for (int k = 0; k < Inputs; k++)
            {
                int at = (row * Inputs) + k;
                expected[k] = table[blocks[at / 2] >> (4 * (k & 1)) & 15] * MathF.ScaleB(1f, exponents[at / 32] - 127);
            }
            Assert.That(values, Is.EqualTo(expected), $"row {row}");
        }
    }

    [TestCase(".scales", "is missing")]
    [TestCase(".qzeros", "is missing")]
    public void Awq_WithoutAPart_NamesIt(string part, string words)
    {
        (int[,] codes, int[,] zeros, float[,] scales) = Draw(15, 64, "F16");
        Words(".qweight", Inputs, Outputs / 8, 4, (row, word, i) => codes[(word * 8) + AwqOrder[i], row]);
        if (part != ".qzeros")
            Words(".qzeros", Inputs / 64, Outputs / 8, 4, (row, word, i) => zeros[(word * 8) + AwqOrder[i], row]);
        if (part != ".scales")
            Floats(".scales", "F16", Inputs / 64, Outputs, (row, column) => scales[column, row]);
        Assert.That(() => Open("\"quant_method\": \"awq\", \"bits\": 4"), Throws.TypeOf<ModelLoadException>().With.Message.Contains(Module + part).And.Message.Contains(words));
    }

    [Test]
    public void Float8_WithoutScale_IsRefused()
    {
        Add(".weight", "F8_E4M3", [Outputs, Inputs], new byte[Outputs * Inputs]);
        Assert.That(() => Open("\"quant_method\": \"fp8\""), Throws.TypeOf<ModelLoadException>().With.Message.Contains(Module).And.Message.Contains("no scale"));
    }

    private void Check(string quantisation, WeightFormat format, Func<int, int, float> value)
    {
        using ModelCheckpoint checkpoint = Open(quantisation);
        TensorInfo matrix = checkpoint.Tensors[Module + ".weight"];
        Assert.That(checkpoint.Tensors.Keys, Is.EquivalentTo(new[] { "model.norm.weight", Module + ".weight" }), "parts are not listed");
        Assert.That(matrix.Shape, Is.EqualTo(new[] { Outputs, Inputs }));
        Assert.That(matrix.ByteCount, Is.EqualTo(matrix.Storage!.Parts.Sum(part => part.ByteCount)));
        Assert.That(checkpoint.Warnings.Any(warning => warning.Contains("F32", StringComparison.Ordinal)), Is.EqualTo(format == WeightFormat.F32), "decoding is said");
        const int first = 3;
        TensorRows rows = TensorRows.Of(checkpoint, matrix, first, Outputs - first, 1);
        Assert.That(rows.Format, Is.EqualTo(format));
        for (int row = 0; row < rows.Outputs; row++)
        {
            float[] values = new float[Inputs];
            byte[] whole = rows.Row(row).ToArray();
            Dequantize.Row(format, whole, values);
            Assert.That(values, Is.EqualTo(Enumerable.Range(0, Inputs).Select(k => value(first + row, k))), $"row {row}");
            int start = (int)format.RowBytes(64), length = (int)format.RowBytes(96);
            Assert.That(rows.Part(row, start, length).ToArray(), Is.EqualTo(whole[start..(start + length)]), $"part of row {row}");
        }
    }

    private (int[,] Codes, int[,] Zeros, float[,] Scales) Draw(int most, int group, string scaleType)
    {
        int[,] codes = new int[Outputs, Inputs], zeros = new int[Outputs, Inputs / group];
        float[,] scales = new float[Outputs, Inputs / group];
        for (int output = 0; output < Outputs; output++)
        {
            for (int k = 0; k < Inputs; k++)
                codes[output, k] = _random.Next(most + 1);
            for (int i = 0; i < Inputs / group; i++)
            {
                zeros[output, i] = _random.Next(1, most + 1);
                float scale = 0.01f * (0.5f + _random.NextSingle());
                scales[output, i] = scaleType switch { "F16" => (float)(Half)scale, "BF16" => FloatValues.FromBFloat16(FloatValues.ToBFloat16(scale)), _ => scale };
            }
        }
        return (codes, zeros, scales);
    }

    private void Words(string part, int rows, int columns, int bits, Func<int, int, int, int> code)
    {
        byte[] data = new byte[4 * rows * columns];
        for (int row = 0; row < rows; row++)
        {
            for (int column = 0; column < columns; column++)
            {
                uint word = 0;
                for (int i = 0; i < 32 / bits; i++)
                    word |= (uint)code(row, column, i) << (bits * i);
                BinaryPrimitives.WriteUInt32LittleEndian(data.AsSpan(4 * ((row * columns) + column)), word);
            }
        }
        Add(part, "I32", [rows, columns], data);
    }

    private void Floats(string part, string type, int rows, int columns, Func<int, int, float> value)
    {
        List<byte> data = [];
        for (int row = 0; row < rows; row++)
            for (int column = 0; column < columns; column++)
                data.AddRange(type switch
                {
                    "F16" => BitConverter.GetBytes((Half)value(row, column)),
                    "BF16" => BitConverter.GetBytes(FloatValues.ToBFloat16(value(row, column))),
                    _ => BitConverter.GetBytes(value(row, column)),
                });
        Add(part, type, [rows, columns], [.. data]);
    }

    private void Add(string part, string type, int[] shape, byte[] data) => _tensors.Add((Module + part, type, shape, data));

    private ModelCheckpoint Open(string quantisation)
    {
        JsonObject header = [];
        int offset = 0;
        foreach ((string name, string type, int[] shape, byte[] data) in _tensors)
            header[name] = new JsonObject { ["dtype"] = type, ["shape"] = new JsonArray([.. shape.Select(extent => (JsonNode)extent)]), ["data_offsets"] = new JsonArray(offset, offset += data.Length) };
        byte[] json = Encoding.UTF8.GetBytes(header.ToJsonString());
        File.WriteAllBytes(Path.Combine(_folder, "model.safetensors"), [.. BitConverter.GetBytes((ulong)json.Length), .. json, .. _tensors.SelectMany(tensor => tensor.Data)]);
        File.WriteAllText(Path.Combine(_folder, "config.json"), $$"""
            { "model_type": "llama", "hidden_size": 64, "num_hidden_layers": 1, "num_attention_heads": 4, "intermediate_size": 96, "vocab_size": 8, "quantization_config": { {{quantisation}} } }
            """);
        return ModelCheckpoints.OpenWeights(_folder);
    }
}
