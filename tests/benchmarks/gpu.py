"""Training of EfficientNet-B0 avg on a GPU, against a plain PyTorch loop of the same recipe.

    python tests/benchmarks/gpu.py                                  # with a GPU: under 8 minutes
    python tests/benchmarks/gpu.py --patches 96 --image-size 64 --workers 2   # to try it without

Both read the same TIFF files: the sample's patches, each rolled by its own amount. The plain loop
is what one would write first: a DataLoader whose workers decode and augment patch by patch in
float, then float32 training. Prints patches a second, how busy the GPU was (``nvidia-smi dmon``),
and the rate of each part alone, which tells what bounds the whole.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import timm
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

import harness_nct_crc
from harness import FitContext
from harness.data.patches import FileSplit, list_folder
from harness.data.splits import stream
from harness_nct_crc import CLASSES
from harness_timm.augment import augment
from harness_timm.building import Architecture, as_tensor
from harness_timm.networks import EFFICIENTNET_B0, IMAGENET_MEAN, IMAGENET_STD
from harness_timm.recipe import torch_device
from harness_timm.train import fit, reproducible, step
from harness_timm.weights import RANDOM

PACKBITS = 32773
"""Compression of the published TIFF files."""


def write_patches(folder: Path, n: int) -> None:
    """Write n TIFF files in class folders."""
    split = harness_nct_crc.open_split(harness_nct_crc.SAMPLE, harness_nct_crc.TRAIN)
    images = split.read(np.arange(len(split.labels)))
    rng = np.random.default_rng(0)
    for number in range(n):
        index = number % len(images)
        class_folder = folder / CLASSES[split.labels[index]]
        class_folder.mkdir(parents=True, exist_ok=True)
        patch = np.roll(images[index], tuple(rng.integers(0, 224, 2)), axis=(0, 1))
        path = str(class_folder / f"{number:06}.tif")
        assert cv2.imwrite(path, patch[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, PACKBITS])


class Plain(Dataset[tuple[Tensor, int]]):
    """The plain way to read a patch: decode, resize, augment and normalize it in float."""

    def __init__(self, split: FileSplit, size: int) -> None:
        self.paths = [str(split.files.origin / name) for name in split.names]
        self.labels = split.labels.tolist()
        self.size = size

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = cv2.cvtColor(cv2.imread(self.paths[index]), cv2.COLOR_BGR2RGB)
        rng = np.random.default_rng()
        x = augmented(image.astype(np.float32) / 255, rng)
        if self.size != x.shape[0]:
            x = cv2.resize(x, (self.size, self.size))
        x = (x - np.array(IMAGENET_MEAN, np.float32)) / np.array(IMAGENET_STD, np.float32)
        return torch.from_numpy(x.transpose(2, 0, 1).copy()), self.labels[index]


def augmented(x: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """The published augmentation of one patch in 0..1 (see ``harness_timm.augment``)."""
    x = x[::-1] if rng.random() < 0.5 else x
    x = x[:, ::-1] if rng.random() < 0.5 else x
    if rng.random() < 0.3:
        if rng.random() < 0.5:
            x = x + rng.uniform(0.01, 0.2) * rng.standard_normal(x.shape, np.float32)
        else:
            half = rng.uniform(0.02, 0.15)
            x = x + rng.uniform(-half, half, x.shape).astype(np.float32)
    if rng.random() < 0.9:
        x = x * rng.uniform(0.85, 1.15, 3).astype(np.float32)
        x = x + rng.uniform(-0.15, 0.15, 3).astype(np.float32)
    if rng.random() < 0.3:
        side = tuple(int(s) for s in rng.choice([1, 3, 5, 7], 2))
        x = np.ascontiguousarray(x)
        x = cv2.GaussianBlur(x, side, 0) if rng.random() < 0.5 else cv2.blur(x, side)
    rounded: NDArray[np.float32] = np.round(np.clip(x, 0, 1) * 255) / np.float32(255)
    return rounded


def plain_rate(split: FileSplit, options: argparse.Namespace, device: torch.device) -> float:
    """Patches a second of the plain loop, after its first batches."""
    torch.manual_seed(0)
    model = timm.create_model("efficientnet_b0", num_classes=len(CLASSES)).to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=5e-4, weight_decay=1e-6)
    loss_of = nn.CrossEntropyLoss()
    loader = DataLoader(
        Plain(split, options.image_size),
        batch_size=options.batch_size,
        shuffle=True,
        num_workers=options.workers,
        pin_memory=device.type == "cuda",
        drop_last=True,
        persistent_workers=True,
    )
    done, started, ends = 0, 0.0, time.monotonic() + options.seconds
    warm_up = 4
    while time.monotonic() < ends or done < 2 * options.batch_size:
        for number, (images, labels) in enumerate(loader):
            images, labels = (x.to(device, non_blocking=True) for x in (images, labels))
            loss = loss_of(model(images), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            value = float(loss.detach())  # for the progress bar that everybody has
            assert np.isfinite(value)
            if started:
                done += len(labels)
            elif number + 1 >= min(warm_up, len(loader)):
                started = time.monotonic()
            if time.monotonic() > ends and done >= 2 * options.batch_size:
                break
    return done / (time.monotonic() - started)


def our_rate(
    split: FileSplit,
    options: argparse.Namespace,
    device: torch.device,
    precision: str,
    on_device: bool,
) -> float:
    """Patches a second of an epoch of the model ``efficientnet-b0-avg``, its checkpoint written."""
    starts: list[float] = []

    def progress(batches, total, label):  # type: ignore[no-untyped-def]
        if label.startswith("epoch"):
            starts.append(time.monotonic())
        return batches

    with tempfile.TemporaryDirectory() as folder:
        context = FitContext(
            seed=0,
            classes=CLASSES,
            settings={
                "epochs": 3,
                "batch_size": options.batch_size,
                "image_size": options.image_size,
                "precision": precision,
                "device": options.device,
                "workers": options.workers,
                "on_device": on_device,
                "weights": "random",
            },
            folder=Path(folder),
            initial_weights=RANDOM,
            progress=progress,
            say=print,
        )
        fit(EFFICIENTNET_B0, "avg", split, None, context)
    return len(split.labels) / (starts[2] - starts[1])


def rate(n: int, work: Callable[[], object], device: torch.device, seconds: float = 5.0) -> float:
    """Patches a second of something that handles n of them."""
    work()
    synchronize(device)
    done, started = 0, time.monotonic()
    while (took := time.monotonic() - started) < seconds:
        work()
        synchronize(device)
        done += n
    return done / took


def synchronize(device: torch.device) -> None:
    """Wait for the device."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def parts(
    split: FileSplit, options: argparse.Namespace, device: torch.device
) -> Iterator[tuple[str, float]]:
    """What each part of our training does alone, in patches a second."""
    n = options.batch_size
    order = np.arange(min(len(split.labels), 40 * n))
    started = time.monotonic()
    for _ in stream(split, n, order=order, threads=options.workers):
        pass
    yield f"decoding by {options.workers} threads", len(order) / (time.monotonic() - started)
    images = as_tensor(split.read(order[:n]))
    labels = torch.tensor(split.labels[order[:n]]).to(device)
    placed = images.to(device)
    yield "copying to the device", rate(n, lambda: images.to(device), device)
    yield "augmentation", rate(n, lambda: augment(placed, (0, 0)), device)
    for precision in ("float32", "bfloat16"):
        architecture = Architecture.of(
            EFFICIENTNET_B0,
            pool="avg",
            classes=len(CLASSES),
            image_size=options.image_size,
            precision=precision,
        )
        with reproducible(device):
            model = timm.create_model("efficientnet_b0", num_classes=len(CLASSES))
            model = model.to(device, memory_format=torch.channels_last).train()
            optimizer = torch.optim.Adam(model.parameters(), fused=True)

            def work(model=model, architecture=architecture, optimizer=optimizer):  # type: ignore[no-untyped-def]
                step(model, architecture, optimizer, placed, labels, (0, 0))

            yield f"augmentation and step in {precision}", rate(n, work, device)


@contextlib.contextmanager
def utilization(device: torch.device) -> Iterator[list[float]]:
    """Percent of the time that the GPU was busy, second by second; empty without one."""
    seen: list[float] = []
    if device.type != "cuda":
        yield seen
        return
    command = ["nvidia-smi", "dmon", "-s", "u", "-d", "1", "-i", str(device.index or 0)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        yield seen
    finally:
        process.terminate()
        text = process.communicate()[0]
        seen += [float(found) for found in re.findall(r"^\s*\d+\s+(\d+)", text, re.MULTILINE)]


def main(options: argparse.Namespace) -> None:
    """Measure and print."""
    device = torch_device(options.device)
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "the processor"
    print(f"torch {torch.__version__} on {name}; {vars(options)}", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        write_patches(Path(folder), options.patches)
        split = FileSplit(list_folder(Path(folder)), CLASSES, (224, 224), "gpu")
        ways: dict[str, Callable[[], float]] = {
            f"plain loop, float32, {options.workers} workers": lambda: plain_rate(
                split, options, device
            )
        }
        for precision in ("float32", "bfloat16"):
            for on_device in (False, True):
                kept = "patches on the device" if on_device else "patches read anew"
                ways[f"harness, {precision}, {kept}"] = (
                    lambda precision=precision, on_device=on_device: our_rate(
                        split, options, device, precision, on_device
                    )
                )
        plain = 0.0
        print(f"{'':<46} {'patches/s':>10} {'x plain':>8} {'GPU busy':>9}", flush=True)
        for label, way in ways.items():
            with utilization(device) as seen:
                found = way()
            plain = plain or found
            busy = f"{np.median(seen):.0f} %" if seen else "-"
            print(f"{label:<46} {found:>10,.1f} {found / plain:>8.2f} {busy:>9}", flush=True)
        print("each part alone:")
        for label, found in parts(split, options, device):
            print(f"{label:<46} {found:>10,.1f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--patches", type=int, default=9_600)
    parser.add_argument("--batch-size", type=int, default=48)
    parser.add_argument("--image-size", type=int, default=224)
    parser.add_argument("--workers", type=int, default=16, help="processes or threads that read")
    parser.add_argument("--seconds", type=float, default=60.0, help="for the plain loop")
    parser.add_argument("--device", default="auto")
    main(parser.parse_args())
