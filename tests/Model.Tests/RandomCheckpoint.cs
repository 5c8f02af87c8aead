using System.Buffers.Binary;
using TpServe.Checkpoint;
using TpServe.Checkpoint.Config;
using TpServe.Model.Families;
using TpServe.Model.Weights;

namespace TpServe.Model.Tests;

/// <summary>A checkpoint in memory with random weights for any config: what a family of that architecture must have, in float32 or a block format.</summary>
/// <remarks>Large enough weights that attention, gates and logits are far from flat. The same bytes for the same config and seed.</remarks>
internal sealed class RandomCheckpoint : ModelCheckpoint
{
    private readonly Dictionary<string, TensorInfo> _tensors = new(StringComparer.Ordinal);
    private readonly Dictionary<string, byte[]> _bytes = new(StringComparer.Ordinal);

    /// <summary>Draws every tensor.</summary>
    /// <param name="config">Architecture and sizes.</param>
    /// <param name="seed">Of the weights.</param>
    /// <param name="matrixType">Type of the matrices, by name; F32 where null. Q8_0 and BF16 are the others it can write.</param>
    public RandomCheckpoint(ModelConfig config, int seed = 1, Func<string, TensorType>? matrixType = null)
    {
        Config = config;
        Random random = new(seed);
        foreach (ExpectedTensor tensor in ExpectedTensors.Of(config, FamilyRegistry.Find(config.Architecture)))
        {
            bool matrix = tensor.Shape.Count > 1, norm = tensor.Name.Contains("norm", StringComparison.Ordinal);
            float scale = !matrix ? 0.2f : tensor.Name.Contains("embed", StringComparison.Ordinal) ? 0.5f : 1.5f / MathF.Sqrt(tensor.Shape[tensor.Shape.Count == 3 && !config.Architecture.StartsWith("gpt", StringComparison.Ordinal) ? 2 : 1]);
            float[] values = new float[tensor.Shape.Aggregate(1, (product, length) => product * length)];
            for (int i = 0; i < values.Length; i++)
                values[i] = (norm ? 1f : 0f) + scale * (float)Math.Sqrt(-2 * Math.Log(1 - random.NextDouble())) * (float)Math.Cos(2 * Math.PI * random.NextDouble());
            Add(tensor.Name, matrix && matrixType is not null ? matrixType(tensor.Name) : TensorType.F32, tensor.Shape, values);
        }
    }

    /// <inheritdoc/>
    public override string Path => "random";

    /// <inheritdoc/>
    public override string Name => "random";

    /// <inheritdoc/>
    public override ModelConfig Config { get; }

    /// <inheritdoc/>
    public override GenerationDefaults Generation { get; } = new();

    /// <inheritdoc/>
    public override TokenizerFiles Tokenizer { get; } = new();

    /// <inheritdoc/>
    public override IReadOnlyDictionary<string, TensorInfo> Tensors => _tensors;

    /// <summary>Tensors that were dropped, in order.</summary>
    public List<string> Dropped { get; } = [];

    /// <inheritdoc/>
    public override ReadOnlySpan<byte> Bytes(TensorInfo tensor) => _bytes[tensor.Name];

    /// <inheritdoc/>
    public override void Drop(TensorInfo tensor) => Dropped.Add(tensor.Name);

    /// <summary>Adds a tensor, or puts one in the place of another.</summary>
    public void Add(string name, TensorType type, IReadOnlyList<int> shape, ReadOnlySpan<float> values)
    {
        _tensors[name] = new TensorInfo(name, type, shape, RowOrder.Plain);
        _bytes[name] = Encode(type, values);
    }

    /// <summary>Puts one value into a whole row of a matrix; of a block format, into the scales.</summary>
    public void Fill(string name, int row, float value)
    {
        TensorInfo tensor = _tensors[name];
        int columns = tensor.Shape[1];
        byte[] bytes = _bytes[name];
        int rowBytes = bytes.Length / tensor.Shape[0];
        Span<byte> target = bytes.AsSpan(row * rowBytes, rowBytes);
        for (int i = 0; i < columns; i++)
        {
            switch (tensor.Type)
            {
                case TensorType.F32: BinaryPrimitives.WriteSingleLittleEndian(target[(4 * i)..], value); break;
                case TensorType.BF16: BinaryPrimitives.WriteUInt16LittleEndian(target[(2 * i)..], (ushort)(BitConverter.SingleToUInt32Bits(value) >> 16)); break;
                case TensorType.Q8_0: BinaryPrimitives.WriteHalfLittleEndian(target[(34 * (i / 32))..], (Half)value); break;
                default: throw new ArgumentOutOfRangeException(nameof(name), tensor.Type, "cannot be filled");
            }
        }
    }

    /// <summary>Puts experts' matrices into one tensor, as GGUF files have them; nothing where there are none.</summary>
    public void Join(string module, string matrix, int experts)
    {
        string[] names = [.. Enumerable.Range(0, experts).Select(expert => $"{module}.{expert}.{matrix}.weight")];
        if (!_tensors.TryGetValue(names[0], out TensorInfo? first))
            return;
        string joined = $"{module}.{matrix}.weight";
        _bytes[joined] = [.. names.SelectMany(name => _bytes[name])];
        _tensors[joined] = new TensorInfo(joined, first.Type, [experts, .. first.Shape], RowOrder.Plain);
        foreach (string name in names)
            _tensors.Remove(name);
    }

    /// <summary>Divides each of so many matrices, one below the other, into as many parts of equal rows as there are names.</summary>
    public void Divide(string name, int matrices, params string[] parts)
    {
        TensorInfo tensor = _tensors[name];
        int bytes = _bytes[name].Length / matrices / parts.Length, rows = tensor.Shape[^2] / parts.Length;
        for (int part = 0; part < parts.Length; part++)
        {
            int at = part;
            _bytes[parts[part]] = [.. Enumerable.Range(0, matrices).SelectMany(matrix => _bytes[name].AsSpan(((matrix * parts.Length) + at) * bytes, bytes).ToArray())];
            _tensors[parts[part]] = new TensorInfo(parts[part], tensor.Type, tensor.Shape.Count == 3 ? [matrices, rows, tensor.Shape[^1]] : [rows, tensor.Shape[^1]], RowOrder.Plain);
        }
        _tensors.Remove(name);
    }

    /// <summary>Takes a tensor out.</summary>
    public void Remove(string name) => _tensors.Remove(name);

    /// <summary>Reorders the rows of a query or key projection, or its bias, as GGUF files of the llama architecture have them.</summary>
    public void Interleave(string name)
    {
        TensorInfo tensor = _tensors[name];
        byte[] plain = _bytes[name], interleaved = new byte[plain.Length];
        int rowBytes = plain.Length / tensor.Shape[0], half = Config.HeadDim / 2;
        for (int row = 0; row < tensor.Shape[0]; row++)
        {
            int head = row / Config.HeadDim, inHead = row % Config.HeadDim;
            int to = head * Config.HeadDim + (inHead < half ? 2 * inHead : 2 * (inHead - half) + 1);
            plain.AsSpan(row * rowBytes, rowBytes).CopyTo(interleaved.AsSpan(to * rowBytes));
        }
        _bytes[name] = interleaved;
        _tensors[name] = tensor with { RowOrder = RowOrder.InterleavedPairs };
    }

    /// <inheritdoc/>
    protected override void Dispose(bool disposing)
    {
    }

    private static byte[] Encode(TensorType type, ReadOnlySpan<float> values)
    {
        switch (type)
        {
            case TensorType.F32:
                byte[] floats = new byte[4 * values.Length];
                for (int i = 0; i < values.Length; i++)
                    BinaryPrimitives.WriteSingleLittleEndian(floats.AsSpan(4 * i), values[i]);
                return floats;
            case TensorType.BF16:
                byte[] halves = new byte[2 * values.Length];
                for (int i = 0; i < values.Length; i++)
                    BinaryPrimitives.WriteUInt16LittleEndian(halves.AsSpan(2 * i), (ushort)(BitConverter.SingleToUInt32Bits(values[i]) >> 16));
                return halves;
            case TensorType.Q8_0:
                byte[] blocks = new byte[values.Length / 32 * 34];
                for (int block = 0; block < values.Length / 32; block++)
                {
                    ReadOnlySpan<float> source = values.Slice(32 * block, 32);
                    float largest = 0;
                    foreach (float value in source)
                        largest = MathF.Max(largest, MathF.Abs(value));
                    Half scale = (Half)(largest / 127);
                    BinaryPrimitives.WriteHalfLittleEndian(blocks.AsSpan(34 * block), scale);
                    for (int i = 0; i < 32; i++)
                        blocks[34 * block + 2 + i] = (byte)(sbyte)Math.Clamp(MathF.Round(source[i] / (float)scale), -127, 127);
                }
                return blocks;
            default:
                throw new ArgumentOutOfRangeException(nameof(type), type, "Random checkpoints come in F32, BF16 and Q8_0.");
        }
    }
}
