"""Training by the published recipe, resumable after any interruption.

Adam on cross-entropy, the learning rate multiplied by gamma every step_size epochs; Ignatov and
Malivenko, arXiv:2409.11546. For one seed on one device the result is always the same,
also when the training was killed and taken up again.
"""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from harness import FitContext, HarnessError, InitialWeights, Setting, Split
from harness.data.splits import stream
from harness_timm import checkpoint
from harness_timm.augment import augment
from harness_timm.building import (
    Architecture,
    as_tensor,
    autocast,
    build,
    build_tried,
    prepare,
)
from harness_timm.classifier import FittedNetwork
from harness_timm.loading import load_initial
from harness_timm.networks import Network
from harness_timm.recipe import Recipe, torch_device
from harness_timm.weights import find

Tensors = dict[str, Tensor]


def fit(
    network: Network,
    pool: str,
    train: Split,
    validation: Split | None,
    context: FitContext,
) -> FittedNetwork:
    """Train on ``train`` and return the classifier of the epoch most accurate on ``validation``.

    Of equally accurate epochs the earliest counts; without ``validation``, the last epoch. Every
    epoch ends with a checkpoint in ``context.folder``, and a later call goes on from there. Raises
    HarnessError for settings or weights that cannot be used, and when the loss stops being finite.
    """
    recipe = Recipe.of(context.settings)
    device = torch_device(recipe.device)
    if len(train.labels) < 2:
        raise HarnessError(
            f"{network.name} needs at least 2 patches to train on, not {len(train.labels)}; "
            "add patches to the dataset"
        )
    architecture = Architecture.of(
        network,
        pool=pool,
        classes=len(context.classes),
        image_size=recipe.image_size,
        precision=recipe.precision,
    )
    weights = context.initial_weights or find(network, recipe.weights)
    with reproducible(device):
        training = _Training(network, recipe, architecture, weights, context.seed, device)
        try:
            training.resume(context)
        except (ValueError, KeyError, RuntimeError) as error:
            reason = str(error)
            if not isinstance(error, ValueError):
                reason = f"is of another training ({type(error).__name__}: {error})"
            reason = reason.splitlines()[0]
            context.say(f"{context.folder / checkpoint.NAME}: {reason}; training starts over")
            training = _Training(network, recipe, architecture, weights, context.seed, device)
        if recipe.on_device and training.standing.epoch < recipe.epochs:
            for name, split in (("train", train), ("validation", validation)):
                if split is not None:
                    training.place(name, split, context)
        while training.standing.epoch < recipe.epochs:
            training.epoch(train, validation, context)
    standing = training.standing
    if standing.best_accuracy is not None:
        context.say(
            f"best epoch {standing.best_epoch} of {recipe.epochs}: "
            f"{standing.best_accuracy:.1%} of {len(validation.labels) if validation else 0} "
            "validation patches"
        )
    return FittedNetwork(architecture, training.best, device)


class _Training:
    """A training and where it stands."""

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        architecture: Architecture,
        weights: InitialWeights,
        seed: int,
        device: torch.device,
    ) -> None:
        self.recipe = recipe
        self.architecture = architecture
        self.seed = seed
        self.device = device
        torch.manual_seed(seed)
        model = build_tried(network, architecture)
        load_initial(model, weights, architecture)
        self.model = model.to(device)
        # One fused pass over the weights: steps of 16 small patches take a quarter less time.
        self.optimizer = torch.optim.Adam(
            self.model.parameters(),
            lr=recipe.learning_rate,
            weight_decay=recipe.weight_decay,
            fused=True,
        )
        self.standing = checkpoint.Standing()
        self.best: Tensors = {}
        self.placed: dict[str, Tensor] = {}
        """Patches that are kept on the device, uint8 (N, H, W, 3), by "train" and "validation"."""

    def place(self, name: str, split: Split, context: FitContext) -> None:
        """Decode all patches of a split into the memory of the device, if they fit."""
        n = len(split.labels)
        first = split.read(np.array([0]))
        needed, free = n * first.nbytes, room(self.device)
        if needed > free:
            context.say(
                f"on_device: {n:,} patches take {needed / 1e9:.1f} GB, and {free / 1e9:.1f} GB may "
                "be used; they are read anew in every epoch"
            )
            return
        kept = torch.empty((n, *first.shape[1:]), dtype=torch.uint8, device=self.device)
        batches = context.progress(
            self._stream(split, np.arange(n), self.recipe.workers),
            total=math.ceil(n / self.recipe.batch_size),
            label=f"reading {name} patches",
        )
        for indices, images in batches:
            kept[int(indices[0]) : int(indices[-1]) + 1] = images
        self.placed[name] = kept

    def _batches(
        self, name: str, split: Split, order: NDArray[np.int64]
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        """Indices and patches, batch by batch, read or from the device."""
        kept = self.placed.get(name)
        if kept is None:
            yield from self._stream(split, order, self.recipe.workers)
            return
        everything = torch.from_numpy(order).to(self.device)
        for start in range(0, len(order), self.recipe.batch_size):
            part = slice(start, start + self.recipe.batch_size)
            yield order[part], kept[everything[part]]

    def epoch(self, train: Split, validation: Split | None, context: FitContext) -> None:
        """Train for one epoch, look whether it is the best so far, and write a checkpoint."""
        standing, number = self.standing, self.standing.epoch
        label = f"epoch {number + 1} of {self.recipe.epochs}"
        if standing.best_accuracy is not None:
            label += f", best {standing.best_accuracy:.1%}"
        loss = self._train_epoch(train, number, label, context)
        if not math.isfinite(loss):
            raise HarnessError(
                f"training diverged in epoch {number + 1} (loss {loss}); "
                "lower it with --set learning_rate=..."
            )
        accuracy = self._accuracy(validation, number, context) if validation is not None else None
        best = standing.best_accuracy
        if accuracy is None or best is None or accuracy > best:
            standing.best_epoch, standing.best_accuracy = number + 1, accuracy
            self.best = {name: value.clone() for name, value in self.model.state_dict().items()}
        if context.after_epoch is not None and accuracy is not None:
            now = FittedNetwork(self.architecture, self.model.state_dict(), self.device)
            context.after_epoch(number, now, accuracy)
        standing.epoch = number + 1
        standing.history.append({"loss": loss, "accuracy": accuracy})
        moments = {
            f"{index}/{name}": value
            for index, state in self.optimizer.state_dict()["state"].items()
            for name, value in state.items()
        }
        checkpoint.write(
            context.folder,
            standing,
            {"model": self.model.state_dict(), "best": self.best, "adam": moments},
        )

    def resume(self, context: FitContext) -> None:
        """Go on from the checkpoint, if there is one. A bad one raises."""
        found = checkpoint.read(context.folder)
        if found is None:
            return
        standing, groups = found
        self.model.load_state_dict(groups["model"])
        self.best = {
            name: torch.empty_like(value).copy_(groups["best"][name])
            for name, value in self.model.state_dict().items()
        }
        moments = groups["adam"]
        state: dict[int, Tensors] = {}
        for index, parameter in enumerate(self.model.parameters()):
            state[index] = {"step": moments[f"{index}/step"]}
            for name in ("exp_avg", "exp_avg_sq"):
                # The fused optimizer wants the memory layout of the weights themselves.
                value = torch.empty_like(parameter).detach().copy_(moments[f"{index}/{name}"])
                state[index][name] = value
        param_groups = self.optimizer.state_dict()["param_groups"]
        self.optimizer.load_state_dict({"state": state, "param_groups": param_groups})
        self.standing = standing
        context.say(f"going on after epoch {standing.epoch} of {self.recipe.epochs}")

    def _train_epoch(self, train: Split, number: int, label: str, context: FitContext) -> float:
        recipe, device = self.recipe, self.device
        for group in self.optimizer.param_groups:
            group["lr"] = recipe.rate(number)
        order = np.random.default_rng((self.seed, number)).permutation(len(train.labels))
        if len(order) % recipe.batch_size == 1:
            order = order[:-1]  # batch normalization cannot learn from a single patch
        labels = torch.tensor(train.labels).to(device)
        total = torch.zeros((), device=device)
        batches = context.progress(
            self._batches("train", train, order),
            total=math.ceil(len(order) / recipe.batch_size),
            label=label,
        )
        self.model.train()
        for batch, (indices, images) in enumerate(batches):
            seed = (self.seed, number, batch)
            chosen = torch.from_numpy(indices).to(device, non_blocking=True)
            loss = step(self.model, self.architecture, self.optimizer, images, labels[chosen], seed)
            total += loss * len(indices)
        return float(total) / len(order)

    def _accuracy(self, split: Split, number: int, context: FitContext) -> float:
        labels = torch.tensor(split.labels).to(self.device)
        correct = torch.zeros((), dtype=torch.int64, device=self.device)
        self.model.eval()
        order = np.arange(len(split.labels))
        batches = context.progress(
            self._batches("validation", split, order),
            total=math.ceil(len(order) / self.recipe.batch_size),
            label=f"epoch {number + 1} of {self.recipe.epochs}, selecting",
        )
        with torch.inference_mode(), autocast(self.device, self.recipe.precision):
            for indices, images in batches:
                x = prepare(images.to(self.device, non_blocking=True), self.architecture)
                chosen = torch.from_numpy(indices).to(self.device, non_blocking=True)
                correct += (self.model(x).argmax(1) == labels[chosen]).sum()
        return int(correct) / len(order)

    def _stream(
        self, split: Split, order: NDArray[np.int64], threads: int
    ) -> Iterator[tuple[NDArray[np.int64], Tensor]]:
        pinned = self.device.type == "cuda"

        def then(_: NDArray[np.int64], images: NDArray[np.uint8]) -> Tensor:
            tensor = as_tensor(images)
            return tensor.pin_memory() if pinned else tensor

        return stream(split, self.recipe.batch_size, order=order, then=then, threads=threads)


def step(
    model: nn.Module,
    architecture: Architecture,
    optimizer: torch.optim.Optimizer,
    images: Tensor,
    labels: Tensor,
    seed: tuple[int, ...],
) -> Tensor:
    """One step of training on uint8 patches (B, H, W, 3); returns the mean loss, not yet synced."""
    images = augment(images.to(labels.device, non_blocking=True), seed)
    with autocast(labels.device, architecture.precision):
        logits = model(prepare(images, architecture))
    loss = nn.functional.cross_entropy(logits.float(), labels)
    optimizer.zero_grad()
    torch.autograd.backward(loss)
    optimizer.step()
    return loss.detach()


def room(device: torch.device) -> int:
    """Bytes of the memory of a device that patches may take; the network needs the rest."""
    if device.type == "cuda":
        return int(0.6 * torch.cuda.mem_get_info(device)[0])
    return int(0.3 * os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))


@contextmanager
def reproducible(device: torch.device) -> Iterator[None]:
    """Make torch deterministic, and leave its global state as it was."""
    cudnn: Any = torch.backends.cudnn
    memory: Any = torch.utils.deterministic
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        cudnn.deterministic,
        cudnn.benchmark,
        memory.fill_uninitialized_memory,
    )
    workspace = os.environ.get("CUBLAS_WORKSPACE_CONFIG")
    if device.type == "cuda" and workspace is None:
        os.environ["CUBLAS_WORKSPACE_CONFIG"] = ":4096:8"  # cuBLAS asks for this
    cuda = [device] if device.type == "cuda" else []
    try:
        with torch.random.fork_rng(devices=cuda), warnings.catch_warnings():
            # Max pooling on CUDA says so, but its windows do not overlap here: nothing is added up.
            warnings.filterwarnings("ignore", message=".*adaptive_max_pool2d.*")
            torch.use_deterministic_algorithms(True, warn_only=True)
            memory.fill_uninitialized_memory = False  # a check for bugs that costs time
            cudnn.deterministic, cudnn.benchmark = True, False
            yield
    finally:
        torch.use_deterministic_algorithms(before[0], warn_only=before[1])
        cudnn.deterministic, cudnn.benchmark = before[2:4]
        memory.fill_uninitialized_memory = before[4]
        if workspace is None:
            os.environ.pop("CUBLAS_WORKSPACE_CONFIG", None)


def estimate(network: Network, n: int, settings: Mapping[str, Setting]) -> float:
    """Seconds that fitting n patches takes on this device, from two steps of training."""
    recipe = Recipe.of(settings)
    device = torch_device(recipe.device)
    architecture = Architecture.of(
        network, pool="", classes=9, image_size=recipe.image_size, precision=recipe.precision
    )
    batch_size = recipe.batch_size
    if device.type == "cpu":  # as many as take about a second
        batch_size = min(batch_size, max(2, round(8 * (224 / recipe.image_size) ** 2)))
    return recipe.epochs * n * _seconds_a_patch(architecture, device, batch_size)


@cache
def _seconds_a_patch(architecture: Architecture, device: torch.device, batch_size: int) -> float:
    rng = np.random.default_rng(0)
    images = as_tensor(rng.integers(0, 256, (batch_size, 224, 224, 3), np.uint8))
    labels = torch.zeros(batch_size, dtype=torch.int64, device=device)
    with reproducible(device):
        model = build(architecture).to(device)
        optimizer = torch.optim.Adam(model.parameters(), fused=True)
        # The last losses are asked for, so that a GPU has finished when the clock is read.
        float(step(model, architecture, optimizer, images, labels, (0, 0)))
        started = time.monotonic()
        losses = [step(model, architecture, optimizer, images, labels, (0, k)) for k in (1, 2)]
        float(losses[-1])
        return (time.monotonic() - started) / (2 * batch_size)
