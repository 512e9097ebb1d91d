"""GPT-2 in plain PyTorch as its users write it, on one device: what smp_train's speed on a GPU is held against.

    pytorch_trainer.py --config JOB.json --mode eager|compiled --device cuda|cpu

Reads a configuration of smp_train as jobs.on_tokens makes it, takes the same tokens in the same order and makes as many steps. Weights
and states of AdamW (fused) are fp32, autocast to bf16, scaled_dot_product_attention. compiled: each block by torch.compile, and so the
end of the model (norm, head, loss). Prints one JSON line a step; leaves with 5 where memory did not suffice.
"""
import argparse
import json
import math
import os
import sys
import time
import warnings

warnings.filterwarnings("ignore", message="Failed to initialize NumPy")
import torch
import torch.nn.functional as F
from torch import nn


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.projection = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x):  # [B, T, width]
        q, k, v = (part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(self.norm_1(x)).chunk(3, dim=-1))
        x = x + self.projection(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm_2(x)), approximate="tanh"))


class End(nn.Module):
    def __init__(self, width, embedding):
        super().__init__()
        self.norm, self.embedding = nn.LayerNorm(width), embedding

    def forward(self, x, targets):  # the mean loss over the microbatch
        return F.cross_entropy(F.linear(self.norm(x), self.embedding.weight).flatten(0, 1), targets.flatten())


class GPT2(nn.Module):
    def __init__(self, n_layer, n_embd, n_head, n_positions, vocab_size):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab_size, n_embd), nn.Embedding(n_positions, n_embd)
        self.blocks = nn.ModuleList(Block(n_embd, n_head) for _ in range(n_layer))
        self.end = End(n_embd, self.wte)
        for name, p in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(p)
            elif p.dim() == 2:
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * n_layer) if "projection" in name or "down" in name else 0.02)

    def forward(self, tokens, targets):
        x = self.wte(tokens) + self.wpe.weight[: tokens.shape[1]]
        for block in self.blocks:
            x = block(x)
        return self.end(x, targets)


def batches(path, count, length):
    """Batches of `count` samples of `length` tokens and the token after each, epoch after epoch: data.order = sequential."""
    tokens = torch.from_file(path, size=os.path.getsize(path) // 2, dtype=torch.uint16).int()
    samples, at = (len(tokens) - 1) // length, 0
    while True:
        starts = [(at + i) % samples * length for i in range(count)]
        at += count
        stretches = torch.stack([tokens[start : start + length + 1] for start in starts]).long()
        yield stretches[:, :-1].contiguous(), stretches[:, 1:].contiguous()


def train(config, mode, device):
    shape, training, microbatches = config["model"], config["training"], config["parallel"]["microbatches"]
    is_cuda, batch, length = device == "cuda", training["global_batch_size"], shape["n_positions"]
    torch.manual_seed(1)
    with torch.device(device):
        model = GPT2(**shape)
    if mode == "compiled":
        for block in model.blocks:
            block.compile()
        model.end.compile()
    kinds = [dict(params=[p for p in model.parameters() if (p.dim() >= 2) == decays], weight_decay=0.1 if decays else 0.0) for decays in (True, False)]
    optimizer = torch.optim.AdamW(kinds, lr=training["learning_rate"], betas=(0.9, 0.95), eps=1e-8, fused=True)
    source = batches(config["data"]["train"], batch, length)
    for step in range(training["steps"]):
        begin = time.perf_counter()
        inputs, targets = (t.pin_memory().to(device, non_blocking=True) if is_cuda else t for t in next(source))
        total = torch.zeros((), device=device)
        for x, y in zip(inputs.chunk(microbatches), targets.chunk(microbatches)):
            with torch.autocast(device, dtype=torch.bfloat16):
                loss = model(x, y) / microbatches
            loss.backward()
            total += loss.detach()
        nn.utils.clip_grad_norm_(model.parameters(), training["gradient_clip_norm"], foreach=True)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        loss = total.item()  # the device has done it all only once this is here
        if is_cuda:
            torch.cuda.synchronize()
        seconds = time.perf_counter() - begin
        print(json.dumps(dict(step=step + 1, loss=loss, seconds=seconds, tokens_per_second=batch * length / seconds,
                              memory_bytes=torch.cuda.max_memory_allocated() if is_cuda else None)), flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", required=True)
    parser.add_argument("--mode", choices=("eager", "compiled"), required=True)
    parser.add_argument("--device", choices=("cuda", "cpu"), required=True)
    args = parser.parse_args()
    with open(args.config) as file:
        config = json.load(file)
    try:
        train(config, args.mode, args.device)
    except torch.OutOfMemoryError as error:
        print(f"out of memory: {error}", file=sys.stderr)
        sys.exit(5)
