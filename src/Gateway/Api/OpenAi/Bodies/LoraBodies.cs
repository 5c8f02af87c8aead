namespace TpServe.Gateway.Api.OpenAi.Bodies;

/// <summary>Body of /v1/load_lora_adapter.</summary>
public sealed class LoadLoraBody
{
    /// <summary>What requests are to name it.</summary>
    public string? LoraName { get; set; }

    /// <summary>A PEFT folder: absolute, or below the server's --lora-dir.</summary>
    public string? LoraPath { get; set; }
}

/// <summary>Body of /v1/unload_lora_adapter.</summary>
public sealed class UnloadLoraBody
{
    /// <summary>What requests name it.</summary>
    public string? LoraName { get; set; }
}
