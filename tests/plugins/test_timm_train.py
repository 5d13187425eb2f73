"""Training and inference for real, on small patches whose class is their color.

Run as a script with a folder, this file trains there and tells of every batch, so that a test can
kill it in the middle of an epoch.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")
timm = pytest.importorskip("timm")
pytest.importorskip("safetensors")

from safetensors import safe_open  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402

import harness_timm  # noqa: E402
from harness import FitContext, HarnessError, InitialWeights  # noqa: E402
from harness.system import checkpoints  # noqa: E402
from harness_timm import checkpoint  # noqa: E402
from harness_timm.building import Architecture, build, prepare  # noqa: E402
from harness_timm.classifier import FittedNetwork  # noqa: E402
from harness_timm.networks import EFFICIENTNET_B0  # noqa: E402
from harness_timm.train import fit as train_network  # noqa: E402

CLASSES = ("red", "green", "blue")
SETTINGS = {
    "epochs": 3,
    "batch_size": 8,
    "image_size": 32,
    "learning_rate": 2e-3,
    "weights": "random",
    "device": "cpu",
}
RANDOM = InitialWeights(label="random initialization", digest="random")


class Patches:
    """A split in memory: the class is the channel that is brighter than the others."""

    def __init__(self, n, seed=0, side=32):
        rng = np.random.default_rng(seed)
        self.labels = np.arange(n) % len(CLASSES)
        images = rng.integers(0, 120, (n, side, side, 3))
        images[np.arange(n), :, :, self.labels] += 100
        self.images = images.astype(np.uint8)
        self.ids = [f"patch-{i}" for i in range(n)]
        self.fingerprint = f"{n}-{seed}-{side}"

    def read(self, indices):
        return self.images[np.asarray(indices, np.int64)]


def fit(pool, train, validation, given):
    return train_network(EFFICIENTNET_B0, pool, train, validation, given)


def silent(message):
    pass


def unseen(items, **_):
    return items


def context(folder, seed=0, say=silent, progress=unseen, **settings):
    return FitContext(
        seed=seed,
        classes=CLASSES,
        settings={**SETTINGS, **settings},
        folder=folder,
        initial_weights=RANDOM,
        say=say,
        progress=progress,
    )


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


TRAIN, VALIDATION = Patches(40), Patches(13, seed=1)


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Networks this small gain nothing from more, and lose much beside other tests."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """A training that nothing interrupted, and its folder."""
    folder = tmp_path_factory.mktemp("reference")
    return fit("avg", TRAIN, VALIDATION, context(folder)), folder


def standing(folder):
    return checkpoint.read(folder)[0]


@pytest.mark.parametrize("pool", ["avg", "max"])
def test_learns_what_tells_the_classes_apart(pool, tmp_path):
    labels, said = [], []

    def progress(items, *, total, label):
        items = list(items)
        assert len(items) == total
        labels.append(label)
        return items

    model = {m.name: m for m in harness_timm.harness_models()}[f"efficientnet-b0-{pool}"]
    # 120 steps: half of them leave networks that start from nothing anywhere between 0.4 and 0.9.
    given = context(tmp_path, say=said.append, progress=progress, epochs=8, batch_size=16)
    fitted = model.fit(Patches(240), VALIDATION, given)
    test = Patches(90, seed=2)
    accuracy = (fitted.logits(test.images).argmax(1) == test.labels).mean()
    assert accuracy > 0.7  # chance is one third
    assert labels[:2] == ["epoch 1 of 8", "epoch 1 of 8, selecting"]
    assert labels[14].startswith("epoch 8 of 8, best ")
    assert said[-1].startswith("best epoch ")
    history = standing(tmp_path).history
    assert len(history) == 8
    assert history[-1]["loss"] < history[0]["loss"]


def test_one_seed_one_result_whatever_the_reading_threads(reference, tmp_path):
    fitted, _ = reference
    for name, settings in {
        "one": {"workers": 1},
        "many": {"workers": 5},
        "kept": {"on_device": True},
    }.items():
        (tmp_path / name).mkdir()
        again = fit("avg", TRAIN, VALIDATION, context(tmp_path / name, **settings))
        assert same(again.state, fitted.state)
    (tmp_path / "other").mkdir()
    other = fit("avg", TRAIN, VALIDATION, context(tmp_path / "other", seed=1, epochs=1))
    assert not same(other.state, fitted.state)


def test_patches_that_do_not_fit_on_the_device_are_read_anew(tmp_path, monkeypatch):
    monkeypatch.setattr("harness_timm.train.room", lambda device: TRAIN.read([0]).nbytes)
    said = []
    given = replace(context(tmp_path, epochs=1, on_device=True), say=said.append)
    fit("avg", TRAIN, VALIDATION, given)
    assert sum("they are read anew in every epoch" in text for text in said) == 2


def test_torchs_global_state_is_left_alone(tmp_path):
    def state():
        return (
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
            torch.backends.cudnn.deterministic,
            torch.backends.cudnn.benchmark,
            torch.utils.deterministic.fill_uninitialized_memory,
            torch.get_num_threads(),
            torch.is_grad_enabled(),
            os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
        )

    before, random_state = state(), torch.get_rng_state()
    fit("avg", TRAIN, VALIDATION, context(tmp_path, epochs=1))
    assert state() == before
    assert torch.equal(torch.get_rng_state(), random_state)


def test_a_killed_training_goes_on_to_the_same_weights(reference, tmp_path):
    fitted, whole = reference
    paths = os.pathsep.join(p for p in sys.path if p)
    child = subprocess.Popen(
        [sys.executable, __file__, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": paths},
        stdout=subprocess.PIPE,
        text=True,
    )
    for line in child.stdout:
        if line.strip() == "epoch 2, batch 2":
            child.send_signal(signal.SIGKILL)  # in the middle of the second epoch
            break
    assert child.wait(30) == -signal.SIGKILL
    child.stdout.close()
    assert standing(tmp_path).epoch == 1
    said = []
    resumed = fit("avg", TRAIN, VALIDATION, context(tmp_path, say=said.append))
    assert said[0] == "going on after epoch 1 of 3"
    assert same(resumed.state, fitted.state)
    assert same(
        load_file(tmp_path / checkpoint.NAME), load_file(whole / checkpoint.NAME)
    )  # Adam's moments too
    assert standing(tmp_path).history == standing(whole).history


def test_a_finished_training_is_not_repeated(reference):
    fitted, folder = reference
    before = (folder / checkpoint.NAME).stat().st_mtime_ns
    again = fit("avg", TRAIN, VALIDATION, context(folder))
    assert same(again.state, fitted.state)
    assert (folder / checkpoint.NAME).stat().st_mtime_ns == before


def damaged(kind, whole, path):
    if kind == "half":
        path.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    elif kind == "empty":
        path.write_bytes(b"")
    elif kind == "a bit":
        data = bytearray(whole.read_bytes())
        data[-100] ^= 1  # of a weight: no reader of safetensors would tell
        path.write_bytes(data)
    elif kind == "no metadata":
        save_file(load_file(whole), path)
    else:
        with safe_open(whole, framework="pt") as file:
            metadata = file.metadata()
        tensors = load_file(whole)
        if kind == "a tensor lacks":
            del tensors["adam/3/exp_avg"]
        elif kind == "another network":
            tensors["model/conv_stem.weight"] = torch.zeros(3)
        elif kind == "no weights kept":
            tensors = {k: v for k, v in tensors.items() if not k.startswith("best/")}
        save_file(tensors, path, metadata=metadata)


@pytest.mark.parametrize(
    "kind",
    [
        *("half", "empty", "a bit"),
        *("no metadata", "a tensor lacks", "another network", "no weights kept"),
    ],
)
def test_a_damaged_checkpoint_is_said_and_training_starts_over(kind, reference, tmp_path):
    _, whole = reference
    path = tmp_path / checkpoint.NAME
    if kind in ("half", "empty", "a bit"):
        beside = f"{checkpoint.NAME}.sha256"
        (tmp_path / beside).write_bytes((whole / beside).read_bytes())
        damaged(kind, whole / checkpoint.NAME, path)
    else:  # what proves itself and is no checkpoint of this training
        checkpoints.write(path, lambda draft: damaged(kind, whole / checkpoint.NAME, draft))
    said = []
    fit("avg", TRAIN, VALIDATION, context(tmp_path, say=said.append, epochs=1))
    assert said[0].startswith(f"{path}: ")
    assert said[0].endswith("; training starts over")
    assert "\n" not in said[0]
    assert standing(tmp_path).history == standing(whole).history[:1]


def test_a_checkpoint_is_never_half_written(reference, tmp_path, monkeypatch):
    _, whole = reference
    now, tensors = checkpoint.read(whole)
    checkpoint.write(tmp_path, now, tensors)
    before = (tmp_path / checkpoint.NAME).read_bytes()

    def fails_halfway(tensors, path, metadata):
        Path(path).write_bytes(before[: len(before) // 2])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoint, "save_file", fails_halfway)
    with pytest.raises(OSError, match="No space left"):
        checkpoint.write(tmp_path, now, tensors)
    assert (tmp_path / checkpoint.NAME).read_bytes() == before
    assert checkpoint.read(tmp_path)[0] == now


def test_the_best_epoch_is_kept_and_of_equals_the_earliest(tmp_path):
    # A single validation patch: every epoch has accuracy 0 or 1, so there are ties.
    single = Patches(1, seed=3)
    fitted = fit("avg", TRAIN, single, context(tmp_path, epochs=4))
    now = standing(tmp_path)
    accuracies = [h["accuracy"] for h in now.history]
    assert set(accuracies) <= {0.0, 1.0}
    assert len(set(accuracies)) < len(accuracies)
    assert now.best_accuracy == max(accuracies)
    assert now.best_epoch == accuracies.index(max(accuracies)) + 1
    (tmp_path / "short").mkdir()
    short = fit("avg", TRAIN, None, context(tmp_path / "short", epochs=now.best_epoch))
    assert same(short.state, fitted.state)


def test_the_accuracy_of_an_epoch_is_that_of_its_classifier(reference):
    fitted, folder = reference
    accuracy = (fitted.logits(VALIDATION.images).argmax(1) == VALIDATION.labels).mean()
    assert standing(folder).best_accuracy == pytest.approx(accuracy)


def test_epochs_are_reported_and_that_changes_nothing(reference, tmp_path):
    told = []

    def after_epoch(number, classifier, score):
        right = classifier.logits(VALIDATION.images).argmax(axis=1) == VALIDATION.labels
        told.append((number, right.mean(), score))

    watched = replace(context(tmp_path), after_epoch=after_epoch)
    assert same(fit("avg", TRAIN, VALIDATION, watched).state, reference[0].state)
    assert [number for number, _, _ in told] == [0, 1, 2]
    for _, seen, score in told:
        assert seen == score


def test_without_validation_the_last_epoch_counts(tmp_path):
    fitted = fit("avg", TRAIN, None, context(tmp_path, epochs=2))
    now, groups = checkpoint.read(tmp_path)
    assert (now.epoch, now.best_epoch, now.best_accuracy) == (2, 2, None)
    assert same(fitted.state, groups["model"])


@pytest.mark.parametrize("n", [2, 3, 9])
def test_no_batch_of_a_single_patch(n, tmp_path):
    """At 32 pixels batch normalization would refuse it."""
    batch_size = 8 if n == 9 else 2
    fitted = fit("avg", Patches(n), None, context(tmp_path, epochs=1, batch_size=batch_size))
    assert np.isfinite(fitted.logits(TRAIN.images)).all()


def test_a_single_patch_is_too_few(tmp_path):
    with pytest.raises(HarnessError, match="at least 2 patches"):
        fit("avg", Patches(1), None, context(tmp_path))


def test_a_loss_that_explodes_is_an_error_that_names_the_setting(tmp_path):
    with pytest.raises(HarnessError, match=r"diverged in epoch \d.*learning_rate"):
        fit("avg", TRAIN, VALIDATION, context(tmp_path, learning_rate=1e30))


def test_an_error_while_training_leaves_torch_as_it_was(tmp_path):
    def fails(items, **_):
        assert torch.are_deterministic_algorithms_enabled()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit("avg", TRAIN, VALIDATION, context(tmp_path, progress=fails))
    assert not torch.are_deterministic_algorithms_enabled()


def test_bad_settings_are_refused_before_anything_else(tmp_path):
    with pytest.raises(HarnessError, match="setting epochs=0"):
        fit("avg", TRAIN, VALIDATION, context(tmp_path, epochs=0))
    with pytest.raises(HarnessError, match="setting device=cuda:77"):
        fit("avg", TRAIN, VALIDATION, context(tmp_path, device="cuda:77"))
    assert not list(tmp_path.iterdir())


def test_training_starts_from_the_given_weights(tmp_path):
    architecture = Architecture(pool="avg", classes=3, image_size=32, precision="float32")
    torch.manual_seed(99)
    state = {k: v.contiguous() for k, v in build(architecture).state_dict().items()}
    save_file(state, tmp_path / "start.safetensors")
    tiny = {**SETTINGS, "learning_rate": 1e-12, "epochs": 1}
    weights = InitialWeights(label="", digest="", path=tmp_path / "start.safetensors")
    fitted = fit(
        "avg",
        TRAIN,
        None,
        FitContext(
            seed=0, classes=CLASSES, settings=tiny, folder=tmp_path, initial_weights=weights
        ),
    )
    for name in ("conv_stem.weight", "classifier.weight"):
        torch.testing.assert_close(fitted.state[name], state[name], rtol=0, atol=1e-9)


def test_bfloat16_trains_too(tmp_path):
    fitted = fit("avg", TRAIN, VALIDATION, context(tmp_path, epochs=1, precision="bfloat16"))
    assert all(v.dtype != torch.bfloat16 for v in fitted.state.values())
    assert np.isfinite(fitted.logits(TRAIN.images)).all()


def test_the_estimate_grows_with_patches_and_epochs():
    estimate = next(iter(harness_timm.harness_models())).estimate
    once = estimate(100, SETTINGS)
    assert 0 < once < 3600
    assert estimate(200, SETTINGS) == pytest.approx(2 * once)
    assert estimate(100, {**SETTINGS, "epochs": 6}) == pytest.approx(2 * once)


# Inference


@pytest.mark.parametrize("pool", ["avg", "max"])
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_a_saved_classifier_gives_the_same_logits(pool, precision, reference, tmp_path):
    state = reference[0].state
    architecture = Architecture(pool=pool, classes=3, image_size=32, precision=precision)
    fitted = FittedNetwork(architecture, state, torch.device("cpu"))
    fitted.save(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["config.json", "model.safetensors"]
    assert json.loads((tmp_path / "config.json").read_text()) == {
        "pool": pool,
        "classes": 3,
        "image_size": 32,
        "precision": precision,
        "name": "efficientnet_b0",
        "arguments": "{}",
        "mean": [0.485, 0.456, 0.406],
        "std": [0.229, 0.224, 0.225],
    }
    load = next(iter(harness_timm.harness_models())).load
    loaded = load(tmp_path, {"device": "cpu"})
    np.testing.assert_array_equal(
        loaded.logits(VALIDATION.images), fitted.logits(VALIDATION.images)
    )
    assert same(loaded.state, state)


@pytest.mark.parametrize("pool", ["avg", "max"])
def test_logits_are_those_of_the_plain_network(pool, reference):
    """Fused, channels last and in small batches, against timm's own network in one go."""
    state = reference[0].state
    architecture = Architecture(pool=pool, classes=3, image_size=32, precision="float32")
    logits = FittedNetwork(architecture, state, torch.device("cpu")).logits(TRAIN.images)
    assert logits.dtype == np.float32
    assert logits.shape == (40, 3)
    plain = timm.create_model("efficientnet_b0", num_classes=3, global_pool=pool)
    plain.load_state_dict(state)
    plain.eval()
    x = torch.from_numpy(TRAIN.images).permute(0, 3, 1, 2).contiguous().float() / 255
    x = (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor(
        [0.229, 0.224, 0.225]
    ).view(3, 1, 1)
    with torch.inference_mode():
        expected = plain(x).numpy()
    np.testing.assert_allclose(logits, expected, atol=1e-4 * max(1, np.abs(expected).max()))


@pytest.mark.parametrize(("precision", "rounding"), [("float32", 1e-5), ("bfloat16", 2e-2)])
def test_a_patch_does_not_depend_on_its_batch(precision, rounding, reference):
    architecture = Architecture(pool="avg", classes=3, image_size=32, precision=precision)
    fitted = FittedNetwork(architecture, reference[0].state, torch.device("cpu"))
    together = fitted.logits(TRAIN.images)
    for n in (1, 7, 8, 11):
        starts = range(0, 40, n)
        parts = np.concatenate([fitted.logits(TRAIN.images[i : i + n]) for i in starts])
        np.testing.assert_allclose(parts, together, atol=rounding, rtol=rounding)
    shuffled = fitted.logits(TRAIN.images[::-1])[::-1]
    np.testing.assert_allclose(shuffled, together, atol=rounding, rtol=rounding)


def test_any_batch_will_do(reference):
    fitted, _ = reference
    assert fitted.logits(TRAIN.images[:0]).shape == (0, 3)
    locked = TRAIN.images[:3].copy()
    locked.flags.writeable = False
    np.testing.assert_array_equal(fitted.logits(locked), fitted.logits(TRAIN.images[:3]))
    backwards = fitted.logits(TRAIN.images[8::-1])  # numpy takes its last chunk to be in order
    np.testing.assert_allclose(backwards[::-1], fitted.logits(TRAIN.images[:9]), atol=1e-5)


def side(pixels):
    return Architecture(pool="avg", classes=3, image_size=pixels, precision="float32")


def test_patches_are_normalized_and_resized_without_aliasing():
    gray = torch.full((1, 64, 64, 3), 128, dtype=torch.uint8)
    for size in (64, 32, 48):
        x = prepare(gray, side(size))
        assert x.shape == (1, 3, size, size)
        assert x.is_contiguous(memory_format=torch.channels_last)
        expected = (128 / 255 - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor(
            [0.229, 0.224, 0.225]
        )
        torch.testing.assert_close(x.mean((0, 2, 3)), expected)
    # Stripes of one pixel: without antialiasing, some pixels would still be black or white.
    stripes = torch.zeros((1, 64, 64, 3), dtype=torch.uint8)
    stripes[:, :, ::2] = 255
    resized = prepare(stripes, side(20))[0, 0] * 0.229 + 0.485
    assert (resized - 0.5).abs().max() < 0.1


def test_patches_of_another_size_than_the_networks_are_taken(reference):
    fitted, _ = reference
    large = Patches(6, seed=4, side=50)
    x = prepare(torch.from_numpy(large.images), side(32))
    with torch.inference_mode():
        expected = fitted.model(x).numpy()
    np.testing.assert_allclose(fitted.logits(large.images), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("how", ["gone", "half", "another"])
def test_a_damaged_classifier_is_an_error_that_names_the_file(name, how, reference, tmp_path):
    reference[0].save(tmp_path)
    path = tmp_path / name
    if how == "half":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif how == "gone":
        path.unlink()
    elif name == "config.json":
        path.write_text('{"pool": "avg"}')
    else:
        save_file({"x": torch.zeros(1)}, path)
    with pytest.raises(HarnessError, match=f"{name}: cannot be read"):
        FittedNetwork.load(tmp_path)


def tell(items, *, total, label):
    epoch = label.split()[1]
    for batch, item in enumerate(items, 1):
        print(f"epoch {epoch}, batch {batch}", flush=True)
        yield item


if __name__ == "__main__":
    torch.set_num_threads(1)
    fit("avg", TRAIN, VALIDATION, context(Path(sys.argv[1]), progress=tell))
