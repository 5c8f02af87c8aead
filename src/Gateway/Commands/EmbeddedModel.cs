namespace TpServe.Gateway.Commands;

/// <summary>The model served where none is named: models/SmolLM2-135M-Instruct.Q4_1.gguf beside the program, or in the clone it was built in.</summary>
internal static class EmbeddedModel
{
    private const string File = "SmolLM2-135M-Instruct.Q4_1.gguf";

    /// <summary>The path given, or the embedded model's.</summary>
    public static string PathOr(string? given)
    {
        if (!string.IsNullOrEmpty(given))
            return given;
        for (DirectoryInfo? folder = new(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            string path = Path.Combine(folder.FullName, "models", File);
            if (System.IO.File.Exists(path))
                return path;
        }
        return Path.Combine("models", File); // opening it names what is missing
    }
}
