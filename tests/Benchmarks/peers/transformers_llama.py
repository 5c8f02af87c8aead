"""Hugging Face transformers beside TpServe: a Llama of the same shape with random bfloat16 weights on the same GPU, and the GPU's own bf16 matmul rate.

Prints one JSON line: matmul_tflops (8192 x 8192 x 8192, random data), copy_gbs (device to device, bytes read and written), and seconds of prefill and
decode, medians of several rounds after a warm-up. Usage: transformers_llama.py [tiny]
"""
import json
import statistics
import sys
import time

import torch
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.cache_utils import DynamicCache

TINY = "tiny" in sys.argv[1:]
PROMPT = 64 if TINY else 2048
CONTEXT = 32 if TINY else 512
ROUNDS = 3 if TINY else 8
SHAPE = dict(hidden_size=64, num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=16, intermediate_size=128, vocab_size=256) if TINY else dict(
    hidden_size=4096, num_hidden_layers=32, num_attention_heads=32, num_key_value_heads=8, head_dim=128, intermediate_size=14336, vocab_size=128256)


def seconds(work, rounds, warm_up=3):
    times = []
    for i in range(rounds + warm_up):
        torch.cuda.synchronize()
        start = time.perf_counter()
        work()
        torch.cuda.synchronize()
        if i >= warm_up:
            times.append(time.perf_counter() - start)
    return statistics.median(times)


@torch.inference_mode()
def main():
    torch.manual_seed(1)
    device = torch.device("cuda")
    size = 512 if TINY else 8192
    a, b = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    result = {"torch": torch.__version__, "gpu": torch.cuda.get_device_name(), "matmul_tflops": 2 * size**3 / seconds(lambda: a @ b, 10) / 1e12}
    source = torch.empty((1 << 22) if TINY else (4 << 30), device=device, dtype=torch.uint8)
    target = torch.empty_like(source)
    result["copy_gbs"] = 2 * source.numel() / seconds(lambda: target.copy_(source), 10) / 1e9
    del a, b, source, target

    torch.set_default_dtype(torch.bfloat16)
    with torch.device("cuda"):
        model = LlamaForCausalLM(LlamaConfig(**SHAPE, rope_theta=500000.0, max_position_embeddings=8192, tie_word_embeddings=False)).eval()
    ids = torch.randint(0, SHAPE["vocab_size"], (1, PROMPT), device=device)
    result["prefill_seconds"] = seconds(lambda: model(ids, logits_to_keep=1), ROUNDS)
    for rows in (1, 32):
        cache = DynamicCache(config=model.config)
        model(ids[:, :CONTEXT - 1].expand(rows, -1).contiguous(), past_key_values=cache, logits_to_keep=1)
        token = ids[:, :1].expand(rows, 1).contiguous()

        def step():
            model(token, past_key_values=cache, logits_to_keep=1)
            cache.crop(CONTEXT - 1)

        result[f"decode{rows}_seconds"] = seconds(step, 4 * ROUNDS)
    print(json.dumps(result))


main()
