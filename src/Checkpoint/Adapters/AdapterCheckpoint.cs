using System.Security.Cryptography;
using TpServe.Checkpoint.Safetensors;

namespace TpServe.Checkpoint.Adapters;

/// <summary>An opened PEFT folder: its config, and the matrices A and B of each module that it changes.</summary>
/// <remarks>
/// Names are those of the Hugging Face checkpoint of its base model ("model.layers.0.self_attn.q_proj"), also where the base is a GGUF file.
/// Errors   <see cref="ModelLoadException"/> naming file and tensor. Pickled files are refused: reading one runs code.
/// </remarks>
public sealed class AdapterCheckpoint : IDisposable
{
    private const string ConfigFile = "adapter_config.json", WeightsFile = "adapter_model.safetensors";
    private const string Prefix = "base_model.model.", EndOfA = ".lora_A.weight", EndOfB = ".lora_B.weight";

    private readonly TensorTable _table = new();
    private readonly Dictionary<string, AdapterModule> _modules = new(StringComparer.Ordinal);

    private AdapterCheckpoint(string folder)
    {
        Path = folder;
        Config = AdapterConfig.Read(System.IO.Path.Combine(folder, ConfigFile));
        string weights = System.IO.Path.Combine(folder, WeightsFile);
        if (!File.Exists(weights))
            throw new ModelLoadException(File.Exists(System.IO.Path.Combine(folder, "adapter_model.bin"))
                ? $"{folder}: adapter_model.bin is a pickle, which can run code when it is read; expected {WeightsFile}."
                : $"{weights}: there is no such file.");
        MappedFile file = _table.Own(MappedFile.Open(weights));
        try
        {
            foreach (TensorPlace place in SafetensorsFile.Read(file, name => name))
                _table.Add(place);
            foreach (TensorInfo tensor in _table.Tensors.Values)
                AddModule(tensor);
        }
        catch
        {
            _table.Dispose();
            throw;
        }
    }

    /// <summary>The folder.</summary>
    public string Path { get; }

    /// <summary>Which modules, by what rank and scale.</summary>
    public AdapterConfig Config { get; }

    /// <summary>The modules that have tensors, by name.</summary>
    public IReadOnlyDictionary<string, AdapterModule> Modules => _modules;

    /// <summary>Opens a folder.</summary>
    /// <exception cref="ModelLoadException">It is no adapter that is served.</exception>
    public static AdapterCheckpoint Open(string folder)
    {
        ArgumentException.ThrowIfNullOrEmpty(folder);
        if (!Directory.Exists(folder))
            throw new ModelLoadException($"{folder}: there is no such folder.");
        return new AdapterCheckpoint(folder);
    }

    /// <summary>What tells its files from others: a hash of both.</summary>
    public static string DigestOf(string folder)
    {
        using IncrementalHash hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);
        try
        {
            byte[] buffer = new byte[1 << 20];
            foreach (string file in FilesOf(folder))
            {
                RegularFile.Require(file);
                using FileStream stream = File.OpenRead(file);
                for (int count; (count = stream.Read(buffer)) > 0;)
                    hash.AppendData(buffer, 0, count);
            }
        }
        catch (Exception fault) when (fault is IOException or UnauthorizedAccessException)
        {
            throw new ModelLoadException($"{folder}: cannot be read: {fault.Message}", fault);
        }
        return Convert.ToHexStringLower(hash.GetHashAndReset());
    }

    /// <summary>The files that make an adapter.</summary>
    public static IEnumerable<string> FilesOf(string folder) => [System.IO.Path.Combine(folder, ConfigFile), System.IO.Path.Combine(folder, WeightsFile)];

    /// <summary>A tensor's bytes as they lie in the file.</summary>
    public ReadOnlySpan<byte> Bytes(TensorInfo tensor) => _table.Bytes(tensor);

    /// <inheritdoc/>
    public void Dispose() => _table.Dispose();

    private void AddModule(TensorInfo tensor)
    {
        string name = tensor.Name;
        bool isA = name.EndsWith(EndOfA, StringComparison.Ordinal);
        if (!name.StartsWith(Prefix, StringComparison.Ordinal) || !(isA || name.EndsWith(EndOfB, StringComparison.Ordinal)))
            throw new ModelLoadException($"{Path}: tensor '{name}': adapters are served as pairs {Prefix}MODULE{EndOfA} and {EndOfB}.");
        if (tensor.Shape.Count != 2 || tensor.Type is not (TensorType.F32 or TensorType.F16 or TensorType.BF16))
            throw new ModelLoadException($"{Path}: tensor '{name}': expected a matrix of F32, F16 or BF16, found {tensor.Type} [{string.Join(", ", tensor.Shape)}].");
        string module = name[Prefix.Length..^EndOfA.Length];
        AdapterModule known = _modules.GetValueOrDefault(module) ?? new AdapterModule(null, null);
        _modules[module] = isA ? known with { A = tensor } : known with { B = tensor };
    }
}

/// <summary>What changes one module: y + scale · B · (A · x).</summary>
/// <param name="A">[r, in]; null = it is missing.</param>
/// <param name="B">[out, r]; null = it is missing.</param>
public sealed record AdapterModule(TensorInfo? A, TensorInfo? B);
