#!/usr/bin/env python3
"""Compares losses on tiny Shakespeare after the same minutes on a GPU: charlstm and a small GPT.

    .venv/bin/python scripts/benchmarks/gpu_losses.py           # on a CUDA device: 15 minutes
    .venv/bin/python scripts/benchmarks/gpu_losses.py --trial   # tiny sizes on a CPU: seconds

charlstm trains with `--engine torch --minutes` and no other option. The GPT is written here. Its
size and its settings are those that nanoGPT states for this text in its file
config/train_shakespeare_char.py: 6 layers of 384 units and 6 heads, windows of 256 characters,
batches of 64, dropout of 0.2, AdamW with a rate of 0.001 that falls along a cosine to a tenth
within 5,000 steps. If the time is too
short for 5,000 steps, the rate falls within the steps that the time allows.

Both see the first nine tenths of the text. The loss is in nats per character of the last tenth, on
windows of 256 characters without a state or context before them. The time of charlstm includes all
that it does; of the GPT, only training steps count. The GPT is measured at ten places of its run,
and the lowest loss counts. Run nothing else on the machine.
"""

import math
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

try:
    import torch
    from common import code_commit, find_text, markdown_table
    from gpu import is_trial
    from torch import Tensor, nn
    from torch.nn import functional

    import charlstm
except ImportError as error:
    sys.exit(f"{error}: run ./scripts/setup oracles, then .venv/bin/python {sys.argv[0]}")

MINUTES = (1.0, 3.0)
MEASUREMENTS = 10  # of the loss of the GPT in a run
EVALUATED_WINDOWS = 64  # in one forward pass


class Recipe(NamedTuple):
    """The size of a GPT and the settings of its training."""

    layers: int = 6
    heads: int = 6
    units: int = 384
    window: int = 256
    batch_size: int = 64
    dropout: float = 0.2
    lr: float = 1e-3
    final_lr: float = 1e-4
    warmup: int = 100
    steps: int = 5000
    beta2: float = 0.99
    weight_decay: float = 0.1


class Block(nn.Module):
    """A layer of a GPT: causal attention and two dense layers, each added to its input."""

    def __init__(self, recipe: Recipe) -> None:
        super().__init__()
        units = recipe.units
        self.heads, self.p = recipe.heads, recipe.dropout
        self.norms = nn.ModuleList(nn.LayerNorm(units, bias=False) for _ in range(2))
        self.qkv = nn.Linear(units, 3 * units, bias=False)
        self.mix = nn.Linear(units, units, bias=False)
        self.widen = nn.Linear(units, 4 * units, bias=False)
        self.narrow = nn.Linear(4 * units, units, bias=False)
        self.drop = nn.Dropout(recipe.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """x (B, T, units)"""
        batch_size, length, units = x.shape
        parts = self.qkv(self.norms[0](x)).view(batch_size, length, 3, self.heads, -1)
        query, key, value = parts.permute(2, 0, 3, 1, 4)  # each (B, heads, T, units / heads)
        attended = functional.scaled_dot_product_attention(
            query, key, value, dropout_p=self.p if self.training else 0.0, is_causal=True
        )
        x = x + self.drop(self.mix(attended.transpose(1, 2).reshape(batch_size, length, units)))
        return x + self.drop(self.narrow(functional.gelu(self.widen(self.norms[1](x)))))


class GPT(nn.Module):
    """A GPT whose embedding of the symbols is also its last layer."""

    def __init__(self, symbols: int, recipe: Recipe) -> None:
        super().__init__()
        self.embedding = nn.Embedding(symbols, recipe.units)
        self.places = nn.Embedding(recipe.window, recipe.units)
        self.drop = nn.Dropout(recipe.dropout)
        self.blocks = nn.ModuleList(Block(recipe) for _ in range(recipe.layers))
        self.norm = nn.LayerNorm(recipe.units, bias=False)
        for name, weight in self.named_parameters():
            if weight.dim() == 2:
                # The layers that add to their input are smaller, as there are two in each block.
                narrow = name.endswith(("mix.weight", "narrow.weight"))
                spread = 0.02 / math.sqrt(2 * recipe.layers) if narrow else 0.02
                nn.init.normal_(weight, std=spread)

    def forward(self, ids: Tensor) -> Tensor:
        """ids (B, T) -> logits (B, T, symbols)"""
        x = self.drop(self.embedding(ids) + self.places.weight[: ids.shape[1]])
        for block in self.blocks:
            x = block(x)
        return functional.linear(self.norm(x), self.embedding.weight)


class Outcome(NamedTuple):
    """The result of a run: the lowest loss on cold windows, and what it took."""

    loss: float
    parameters: int
    steps: int
    seconds: float


def rate_at(step: int, steps: int, recipe: Recipe) -> float:
    """The learning rate of a step of a run of some steps: a rise, then half a cosine."""
    warmup = min(recipe.warmup, steps // 10)
    if step < warmup:
        return recipe.lr * (step + 1) / (warmup + 1)
    part = (step - warmup) / max(1, steps - warmup)
    return recipe.final_lr + (recipe.lr - recipe.final_lr) * (1 + math.cos(math.pi * part)) / 2


def train_gpt(train: Tensor, validation: Tensor, symbols: int, minutes: float, recipe: Recipe,
              device: str) -> Outcome:  # fmt: skip
    """Train a GPT for some minutes on the ids of a text."""
    torch.manual_seed(1337)
    model = GPT(symbols, recipe).to(device)
    matrices = [weight for weight in model.parameters() if weight.dim() == 2]
    others = [weight for weight in model.parameters() if weight.dim() != 2]
    optimizer = torch.optim.AdamW(
        [{"params": matrices, "weight_decay": recipe.weight_decay},
         {"params": others, "weight_decay": 0.0}],
        lr=recipe.lr, betas=(0.9, recipe.beta2), fused=device == "cuda",
    )  # fmt: skip
    run = torch.compile(model) if device == "cuda" else model
    train, offsets = train.to(device), torch.arange(recipe.window + 1, device=device)
    steps, spent, done, losses = recipe.steps, 0.0, 0, list[float]()
    began = time.perf_counter()
    while done < steps and (not done or spent < 60 * minutes):
        for group in optimizer.param_groups:
            group["lr"] = rate_at(done, steps, recipe)
        starts = torch.randint(len(train) - recipe.window, (recipe.batch_size, 1), device=device)
        windows = train[starts + offsets]
        with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
            logits = run(windows[:, :-1])
        loss = functional.cross_entropy(logits.float().flatten(0, 1), windows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        done += 1
        if done == 3:  # The first steps compile: their time does not count.
            loss.item()
            began = time.perf_counter()
        elif done == 3 + max(1, recipe.steps // 100):
            loss.item()
            per_step = (time.perf_counter() - began) / (done - 3)
            steps = max(done + 1, min(recipe.steps, int(60 * minutes / per_step)))
        if done % max(1, steps // MEASUREMENTS) == 0 or done == steps:
            loss.item()
            spent += time.perf_counter() - began
            losses.append(gpt_loss(model, validation, recipe.window, device))
            began = time.perf_counter()
    count = sum(weight.numel() for weight in model.parameters())
    return Outcome(min(losses, default=math.nan), count, done, spent)


@torch.no_grad()
def gpt_loss(model: GPT, ids: Tensor, window: int, device: str) -> float:
    """The loss in nats per symbol on consecutive windows of a text."""
    model.eval()
    count = (len(ids) - 1) // window
    inputs = ids[: count * window].view(count, window)
    targets = ids[1 : count * window + 1].view(count, window)
    total = 0.0
    for k in range(0, count, EVALUATED_WINDOWS):
        logits = model(inputs[k : k + EVALUATED_WINDOWS].to(device)).float()
        own = targets[k : k + EVALUATED_WINDOWS].to(device)
        total += functional.cross_entropy(
            logits.flatten(0, 1), own.flatten(), reduction="sum"
        ).item()
    model.train()
    return total / (count * window)


def train_charlstm(content: str, minutes: float, window: int, device: str) -> Outcome:
    """Train by `charlstm train --engine torch --minutes` and no other option."""
    with TemporaryDirectory() as folder:
        text = Path(folder) / "text.txt"
        text.write_text(content, encoding="utf-8")
        began = time.perf_counter()
        options = {} if device == "cuda" else {"hidden": 16, "workers": 1}  # those of a trial
        run = charlstm.train(
            text, Path(folder) / "run", minutes=minutes, engine="torch", report=False, **options
        )
        seconds = time.perf_counter() - began
        model = charlstm.load(run.path)
    found = charlstm.evaluate(model, content[len(content) * 9 // 10 :], window=window)
    return Outcome(found.nats_per_character, model.parameters.count, run.steps, seconds)


def rows_of(content: str, minutes: float, recipe: Recipe, device: str) -> list[list[str]]:
    """The rows of the table for a time."""
    vocab = charlstm.Vocab.from_text(content)
    ids = torch.from_numpy(vocab.encode(content).astype("int64"))
    split = len(ids) * 9 // 10
    outcomes = {
        "charlstm": train_charlstm(content, minutes, recipe.window, device),
        "GPT": train_gpt(ids[:split], ids[split:], len(vocab), minutes, recipe, device),
    }
    return [
        [f"{minutes:g}", name, f"{found.loss:.4f}", f"{found.parameters:,}", f"{found.steps:,}",
         f"{found.seconds:.0f}"]
        for name, found in outcomes.items()
    ]  # fmt: skip


HEADINGS = ("minutes", "model", "nats on cold windows", "parameters", "steps", "seconds")


def main() -> None:
    trial = is_trial(__doc__)
    torch.set_float32_matmul_precision("highest")
    recipe = Recipe(layers=2, heads=2, units=16, window=16, batch_size=8) if trial else Recipe()
    text = find_text("reber.txt" if trial else "tinyshakespeare.txt").read_text(encoding="utf-8")
    content = text[:5000] if trial else text
    device = "cpu" if trial else "cuda"
    name = "a trial on the CPU" if trial else torch.cuda.get_device_name()
    rows = [
        row
        for minutes in ((0.02,) if trial else MINUTES)
        for row in rows_of(content, minutes, recipe, device)
    ]
    print(f"Losses on {name}, PyTorch {torch.__version__}, commit {code_commit()}:\n")
    print(markdown_table(HEADINGS, rows))


if __name__ == "__main__":
    main()
