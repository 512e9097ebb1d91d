#!/usr/bin/env python3
"""GPT-2 in PyTorch as its users write it, to compare speeds with: trains on a configuration of smp_train, on the CPU.

    pytorch_gpt2.py MODE --config gpt2_25m.json [--set SECTION.KEY=VALUE ...]

MODE: eager and checkpointed (one process; each block recomputed), pipeline (Schedule1F1B, two stages), ddp, zero (ddp with
ZeroRedundancyOptimizer), tensor (DTensor): the latter four are two processes over gloo. Reads the keys of gpt2_25m.json;
parallel.microbatches are those of one process, as in smp_train. Prints one JSON line a step. All modes start from the same weights and,
ddp and zero with half the microbatches, show the same losses but for rounding.
"""
import argparse, contextlib, json, math, os, pathlib, re, tempfile, time, warnings

warnings.filterwarnings("ignore", message="Failed to initialize NumPy")
import torch
import torch.distributed as dist
import torch.multiprocessing as mp
import torch.nn.functional as F
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.pipelining import PipelineStage, Schedule1F1B
from torch.distributed.tensor import DTensor, Replicate, Shard
from torch.distributed.tensor.parallel import ColwiseParallel, RowwiseParallel, loss_parallel, parallelize_module
from torch.nn.parallel import DistributedDataParallel
from torch.distributed.optim import ZeroRedundancyOptimizer
from torch.nn.utils import clip_grad_norm_, get_total_norm
from torch.utils.checkpoint import checkpoint

WORLD = {"eager": 1, "checkpointed": 1, "pipeline": 2, "ddp": 2, "zero": 2, "tensor": 2}


class Block(nn.Module):
    def __init__(self, width, heads):
        super().__init__()
        self.head_width = width // heads
        self.norm_1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)  # rows ordered (head, q k v, element): a run of rows is a run of whole heads
        self.projection = nn.Linear(width, width)
        self.norm_2 = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.down = nn.Linear(4 * width, width)

    def forward(self, x):  # [B, T, width]
        q, k, v = self.qkv(self.norm_1(x)).unflatten(-1, (-1, 3, self.head_width)).permute(3, 0, 2, 1, 4).unbind(0)  # [B, heads, T, …]
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.projection(attended.transpose(1, 2).flatten(2))
        return x + self.down(F.gelu(self.up(self.norm_2(x)), approximate="tanh"))


class GPT2(nn.Module):
    """The whole model, or a stage of it: wte and wpe are None without the embedding, head is None without the end."""

    def __init__(self, n_layer, n_embd, n_head, n_positions, vocab_size):
        super().__init__()
        self.wte = nn.Embedding(vocab_size, n_embd)
        self.wpe = nn.Embedding(n_positions, n_embd)
        self.blocks = nn.ModuleList(Block(n_embd, n_head) for _ in range(n_layer))
        self.norm = nn.LayerNorm(n_embd)
        self.head = nn.Linear(n_embd, vocab_size, bias=False)
        for name, p in self.named_parameters():
            if name.endswith("bias"):
                nn.init.zeros_(p)
            elif p.dim() == 2:
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * n_layer) if "projection" in name or "down" in name else 0.02)
        self.head.weight = self.wte.weight
        self.recomputes_blocks = False

    def forward(self, x):  # tokens [B, T] or hidden [B, T, width] -> logits or hidden
        if self.wte is not None:
            x = self.wte(x) + self.wpe.weight[: x.shape[1]]
        for block in self.blocks:
            x = checkpoint(block, x, use_reentrant=False, preserve_rng_state=False) if self.recomputes_blocks else block(x)
        return x if self.head is None else self.head(self.norm(x))


def cross_entropy(logits, targets):
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class Eager:
    """One process: the whole batch by microbatches. The base of the others."""

    def __init__(self, model, microbatches):
        self.model, self.microbatches = model, microbatches

    def parameters(self):
        return list(self.model.parameters())

    def backward_of_batch(self, inputs, targets):
        """Accumulates the gradient of the mean loss and returns that loss."""
        total = 0.0
        for x, y in zip(inputs.chunk(self.microbatches), targets.chunk(self.microbatches)):
            loss = cross_entropy(self.model(x), y) / self.microbatches
            loss.backward()
            total += loss.detach()
        return total

    def clip(self, limit):
        clip_grad_norm_(self.parameters(), limit)


class Ddp(Eager):
    """Each process takes its contiguous part of the batch; gradients are reduced beside the last microbatch's backward."""

    def __init__(self, model, microbatches):
        super().__init__(DistributedDataParallel(model, gradient_as_bucket_view=True), microbatches)

    def backward_of_batch(self, inputs, targets):
        total = 0.0
        mine = [t.chunk(dist.get_world_size())[dist.get_rank()].chunk(self.microbatches) for t in (inputs, targets)]
        for i, (x, y) in enumerate(zip(*mine)):
            with self.model.no_sync() if i + 1 < self.microbatches else contextlib.nullcontext():
                loss = cross_entropy(self.model(x), y) / self.microbatches
                loss.backward()
            total += loss.detach()
        dist.all_reduce(total)
        return total / dist.get_world_size()


def clip_over_ranks(sharded, replicated, limit):
    """Clips by the norm over all ranks' `sharded` gradients and, counted once, the `replicated` ones."""
    square = get_total_norm(sharded) ** 2
    dist.all_reduce(square)
    norm = (square + get_total_norm(replicated) ** 2).sqrt()
    factor = torch.clamp(limit / (norm + 1e-6), max=1.0)
    for gradient in sharded + replicated:
        gradient.mul_(factor)


class Pipeline(Eager):
    """Two stages under Schedule1F1B. The tied embedding lies on both; its gradient is summed over them, as Megatron does."""

    def __init__(self, model, microbatches, first_stage_layers, tokens, hidden, logits):
        """tokens, hidden, logits: tensors of device meta, shaped as a microbatch's."""
        self.first = dist.get_rank() == 0
        if self.first:
            model.blocks, model.norm, model.head = model.blocks[:first_stage_layers], None, None
        else:
            model.blocks, model.wte, model.wpe = model.blocks[first_stage_layers:], None, None
        super().__init__(model, microbatches)
        self.tied = (model.wte if self.first else model.head).weight
        stage = PipelineStage(model, dist.get_rank(), dist.get_world_size(), torch.device("cpu"),
                              input_args=(tokens if self.first else hidden,), output_args=(hidden if self.first else logits,))
        self.schedule = Schedule1F1B(stage, microbatches, lambda logits, y: cross_entropy(logits, y) / microbatches, scale_grads=False)

    def backward_of_batch(self, inputs, targets):
        losses = []
        if self.first:
            self.schedule.step(inputs)
        else:
            self.schedule.step(target=targets, losses=losses, return_outputs=False)
        dist.all_reduce(self.tied.grad)
        total = sum(losses) if losses else torch.zeros(())
        dist.broadcast(total, src=1)
        return total

    def clip(self, limit):
        clip_over_ranks([p.grad for p in self.parameters() if p is not self.tied], [self.tied.grad], limit)


class Tensor(Eager):
    """Attention by heads, MLP by columns then rows, embedding and head by vocabulary, the loss over the sharded logits."""

    def __init__(self, model, microbatches):
        mesh = init_device_mesh("cpu", (dist.get_world_size(),))
        parallelize_module(model, mesh, {
            "wte": RowwiseParallel(input_layouts=Replicate()),
            "blocks.*.qkv": ColwiseParallel(), "blocks.*.projection": RowwiseParallel(),
            "blocks.*.up": ColwiseParallel(), "blocks.*.down": RowwiseParallel(),
            "head": ColwiseParallel(output_layouts=Shard(-1), use_local_output=False)})
        model.head.weight = model.wte.weight  # parallelize_module cut each of the two for itself
        super().__init__(model, microbatches)

    def backward_of_batch(self, inputs, targets):
        with loss_parallel():
            return super().backward_of_batch(inputs, targets).to_local()

    def clip(self, limit):
        is_sharded = lambda p: isinstance(p, DTensor) and p.placements[0].is_shard()
        local = lambda g: g.to_local() if isinstance(g, DTensor) else g
        sharded = [local(p.grad) for p in self.parameters() if is_sharded(p)]
        clip_over_ranks(sharded, [local(p.grad) for p in self.parameters() if not is_sharded(p)], limit)


def optimizer_of(parameters, weight_decay, is_sharded):
    """Fused AdamW, of each process's shard where `is_sharded`; a call takes tensors of one kind, so DTensors have groups of their own."""
    groups = {}
    for p in parameters:
        groups.setdefault((isinstance(p, DTensor), p.dim() >= 2), []).append(p)
    groups = [dict(params=members, weight_decay=weight_decay if decays else 0.0) for (_, decays), members in groups.items()]
    settings = dict(betas=(0.9, 0.95), eps=1e-8, fused=True)
    if is_sharded:
        return ZeroRedundancyOptimizer(groups, optimizer_class=torch.optim.AdamW, parameters_as_bucket_view=True, **settings)
    return torch.optim.AdamW(groups, **settings)


def train(rank, mode, config, first_stage_layers, rendezvous):
    torch.set_num_threads(config["cluster"]["threads_per_rank"])
    if WORLD[mode] > 1:
        dist.init_process_group("gloo", init_method=f"file://{rendezvous}/store", rank=rank, world_size=WORLD[mode])
    torch.manual_seed(1)
    training, shape, microbatches = config["training"], config["model"], config["parallel"]["microbatches"]
    steps, batch, length = training["steps"], training["global_batch_size"], shape["n_positions"]
    model = GPT2(**shape)
    if mode == "pipeline":
        meta = lambda *rest, dtype=torch.float32: torch.empty(batch // microbatches, length, *rest, dtype=dtype, device="meta")
        trainer = Pipeline(model, microbatches, first_stage_layers, meta(dtype=torch.int64), meta(shape["n_embd"]), meta(shape["vocab_size"]))
    else:
        model.recomputes_blocks = mode == "checkpointed"
        kinds = {"eager": Eager, "checkpointed": Eager, "ddp": Ddp, "zero": Ddp, "tensor": Tensor}
        trainer = kinds[mode](model, microbatches)
    optimizer = optimizer_of(trainer.parameters(), training["weight_decay"], is_sharded=mode == "zero")
    path = config["data"]["train"]
    tokens = torch.from_file(path, size=os.path.getsize(path) // 2, dtype=torch.uint16)
    for step in range(steps):
        begin = time.perf_counter()
        start = step * batch * length
        stretch = tokens[start : start + batch * length + 1].long()
        inputs, targets = stretch[:-1].view(batch, length), stretch[1:].view(batch, length)
        for group in optimizer.param_groups:  # cosine without warm-up
            low, high = training["min_learning_rate"], training["learning_rate"]
            group["lr"] = low + 0.5 * (1 + math.cos(math.pi * step / steps)) * (high - low)
        optimizer.zero_grad(set_to_none=True)
        loss = trainer.backward_of_batch(inputs, targets)
        trainer.clip(training["gradient_clip_norm"])
        optimizer.step()
        seconds = time.perf_counter() - begin
        if rank == 0:
            print(json.dumps(dict(step=step + 1, loss=loss.item(), seconds=seconds, tokens_per_second=batch * length / seconds)), flush=True)
    if WORLD[mode] > 1:
        dist.destroy_process_group()


def read_config(path, overrides):
    config = json.loads(re.sub(r"^\s*//.*$", "", pathlib.Path(path).read_text(), flags=re.MULTILINE))
    for override in overrides:
        key, value = override.split("=", 1)
        section, name = key.split(".")
        with contextlib.suppress(json.JSONDecodeError):
            value = json.loads(value)
        config[section][name] = value
    return config


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mode", choices=WORLD)
    parser.add_argument("--config", required=True)
    parser.add_argument("--set", action="append", default=[], metavar="SECTION.KEY=VALUE")
    parser.add_argument("--first-stage-layers", type=int, default=5, help="of mode pipeline; head and loss weigh about 1.5 layers")
    args = parser.parse_args()
    config = read_config(args.config, args.set)
    os.environ["OMP_NUM_THREADS"] = str(config["cluster"]["threads_per_rank"])
    os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
    with tempfile.TemporaryDirectory() as rendezvous:
        mp.spawn(train, (args.mode, config, args.first_stage_layers, rendezvous), nprocs=WORLD[args.mode])
