"""Configurations of smp_train, as values."""
import json
import os


def golden(folder, parallel=None, ranks=1, **training_overrides):
    """A reference run of tests/golden in `folder`, in fp32."""
    with open(os.path.join(folder, "training.json")) as file:
        run = json.load(file)
    training = dict(steps=run["steps"], sequence_length=run["sequence_length"], global_batch_size=run["batch"], learning_rate=run["max_lr"],
                    min_learning_rate=run["min_lr"], warmup_steps=run["warmup_steps"], beta1=run["beta1"], beta2=run["beta2"],
                    epsilon=run["eps"], weight_decay=run["weight_decay"], gradient_clip_norm=run["clip_norm"],
                    initial_weights=os.path.join(folder, "model.safetensors"))
    return dict(model=dict(preset=os.path.join(folder, "config.json")), parallel=dict(microbatches=2) | (parallel or {}),
                training=training | training_overrides, data=dict(train=os.path.join(folder, "tokens.bin"), order="sequential"))


def on_tokens(model, tokens, microbatch, microbatches, steps, parallel=None):
    """GPT-2 of shape `model` on a file of GPT-2's tokens, for measuring: the learning rate is small, and steady."""
    return dict(model=model, parallel=dict(microbatches=microbatches) | (parallel or {}),
                training=dict(steps=steps, global_batch_size=microbatch * microbatches, learning_rate=1e-4, min_learning_rate=1e-4,
                              schedule="constant", gradient_clip_norm=1.0),
                data=dict(train=tokens, format="nanogpt", order="sequential"))


# The vocabulary in whole 128s, as nanoGPT and llm.c pad it: on both sides of a comparison.
VOCABULARY = 50304
SHAPES = {
    "124M": dict(n_layer=12, n_head=12, n_embd=768, n_positions=1024, vocab_size=VOCABULARY),
    "1.5B": dict(n_layer=48, n_head=25, n_embd=1600, n_positions=1024, vocab_size=VOCABULARY),
    "tiny": dict(n_layer=2, n_head=2, n_embd=32, n_positions=64, vocab_size=VOCABULARY),
}


def parameters(model):
    """Numbers in the model, the head tied to the embedding."""
    h = model["n_embd"]
    return model["n_layer"] * (12 * h * h + 13 * h) + 2 * h + (model["vocab_size"] + model["n_positions"]) * h


def flops_per_token(model):
    """Forward and backward: 6 a parameter, and attention's two products over the half that is not masked: 6·L·h·T."""
    return 6 * parameters(model) + 6 * model["n_layer"] * model["n_embd"] * model["n_positions"]


# Dense bf16, FLOP/s, by a part of the device's name.
PEAKS = {"H100": 989.4e12, "H200": 989.4e12, "B200": 2250e12, "A100": 312e12}


def peak_of(device_name):
    """None where it is not known."""
    return next((peak for part, peak in PEAKS.items() if part in (device_name or "")), None)
