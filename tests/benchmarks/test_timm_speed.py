"""How much faster than the obvious loops: inference, and the augmentation.

Run with ``pytest --benchmark-only tests/benchmarks``; the ratios are in ``extra_info``. Nothing
here asserts a time, only that the fast way computes the same.
"""

from __future__ import annotations

import time
from pathlib import Path

import cv2
import numpy as np
import pytest

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")
nct_crc = pytest.importorskip("harness_nct_crc")

from harness.data.patches import FileSplit, list_zip  # noqa: E402
from harness_timm.augment import augment  # noqa: E402
from harness_timm.building import Architecture  # noqa: E402
from harness_timm.classifier import FittedNetwork  # noqa: E402
from harness_timm.networks import IMAGENET_MEAN, IMAGENET_STD  # noqa: E402
from harness_timm.recipe import torch_device  # noqa: E402

CLASSES = ("ADI", "BACK", "DEB", "LYM", "MUC", "MUS", "NORM", "STR", "TUM")
BATCH = 48


@pytest.fixture(scope="module")
def patches():
    """48 real patches of 224 pixels, of all classes, uint8 (48, 224, 224, 3)."""
    path = Path(nct_crc.__file__).with_name("sample") / "CRC-VAL-HE-7K.zip"
    split = FileSplit(list_zip(path), CLASSES, (224, 224), "sample")
    return split.read(np.linspace(0, len(split.labels) - 1, BATCH).astype(int))


@pytest.fixture(scope="module")
def state(patches):
    """Weights whose normalization has seen real patches."""
    torch.manual_seed(0)
    model = timm.create_model("efficientnet_b0", num_classes=len(CLASSES))
    model.train()
    with torch.no_grad():
        for start in range(0, BATCH, 16):
            model(plain_input(patches[start : start + 16]))
    return model.state_dict()


def plain_input(images):
    x = torch.from_numpy(images.astype(np.float32) / 255)
    x = (x - torch.tensor(IMAGENET_MEAN)) / torch.tensor(IMAGENET_STD)
    return x.permute(0, 3, 1, 2).contiguous()


def plain_logits(model, images):
    """Inference as one would write it first: float32, contiguous, eager, the whole batch."""
    device = next(model.parameters()).device
    with torch.inference_mode():
        return model(plain_input(images).to(device)).cpu().numpy()


def seconds(call, rounds=5):
    """The best of some rounds, after one to warm up."""
    call()
    times = []
    for _ in range(rounds):
        started = time.perf_counter()
        call()
        times.append(time.perf_counter() - started)
    return min(times)


def report(benchmark, reference_seconds):
    if benchmark.stats is None:  # with --benchmark-disable
        return
    ours = benchmark.stats.stats.min
    benchmark.extra_info["patches_per_second"] = round(BATCH / ours, 1)
    benchmark.extra_info["reference_patches_per_second"] = round(BATCH / reference_seconds, 1)
    benchmark.extra_info["times_as_fast"] = round(reference_seconds / ours, 2)


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", 1e-3), ("bfloat16", 0.2)])
def test_inference(precision, tolerance, patches, state, benchmark):
    device = torch_device("auto")
    model = timm.create_model("efficientnet_b0", num_classes=len(CLASSES))
    model.load_state_dict(state)
    model.eval().to(device)
    architecture = Architecture(
        pool="avg", classes=len(CLASSES), image_size=224, precision=precision
    )
    fitted = FittedNetwork(architecture, state, device)
    expected = plain_logits(model, patches)
    reference = seconds(lambda: plain_logits(model, patches))
    logits = benchmark.pedantic(fitted.logits, (patches,), rounds=5, warmup_rounds=1)
    difference = np.abs(logits - expected).max()
    benchmark.extra_info["largest_difference_of_logits"] = float(difference)
    report(benchmark, reference)
    assert difference < tolerance * expected.std()


def loop(images, rng):
    """The published augmentation, one patch after another."""
    out = np.empty_like(images)
    for i, image in enumerate(images):
        x = image.astype(np.float32) / 255
        x = x[::-1] if rng.random() < 0.5 else x
        x = x[:, ::-1] if rng.random() < 0.5 else x
        if rng.random() < 0.3:
            if rng.random() < 0.5:
                x = x + rng.normal(0, rng.uniform(0.01, 0.2), x.shape)
            else:
                half = rng.uniform(0.02, 0.15)
                x = x + rng.uniform(-half, half, x.shape)
        if rng.random() < 0.9:
            x = x * rng.uniform(0.85, 1.15, 3) + rng.uniform(-0.15, 0.15, 3)
        if rng.random() < 0.3:
            side = tuple(int(s) for s in rng.choice([1, 3, 5, 7], 2))
            x = np.ascontiguousarray(x, np.float32)
            x = cv2.GaussianBlur(x, side, 0) if rng.random() < 0.5 else cv2.blur(x, side)
        out[i] = np.round(np.clip(x, 0, 1) * 255)
    return out


@pytest.fixture(params=["one thread", "all threads"])
def threads(request):
    before = torch.get_num_threads()
    if request.param == "one thread":  # like the loop
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("threads")
def test_augmentation(patches, benchmark):
    rng = np.random.default_rng(0)
    reference = seconds(lambda: [loop(patches, rng) for _ in range(4)]) / 4
    images = torch.from_numpy(patches).to(torch_device("auto"))
    batch = iter(range(10**9))

    def augment_four():
        for _ in range(4):  # what is drawn differs from batch to batch, and so does the time
            augmented = augment(images, (0, next(batch)))
        return augmented.cpu()

    augmented = benchmark.pedantic(augment_four, rounds=5, warmup_rounds=1)
    report(benchmark, reference * 4)
    if benchmark.stats is not None:
        for name in ("patches_per_second", "reference_patches_per_second"):
            benchmark.extra_info[name] *= 4
    looped = loop(patches, rng)
    assert augmented.shape == looped.shape
    assert abs(float(augmented.mean()) - looped.mean()) < 20
    assert abs(float(augmented.std()) - looped.std()) < 20
