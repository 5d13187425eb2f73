"""A plugin as a stranger would write it: tiny datasets, quick models, and a log of what ran.

``$TOY_LOG`` names a file that gets a line for every fit step, prediction and lifecycle event, so
that tests can tell what was computed and what was read back.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import time
from pathlib import Path

import numpy as np

from harness import (
    Column,
    Command,
    Dataset,
    DatasetProbe,
    DerivedModel,
    Estimate,
    Fault,
    Features,
    Finding,
    HarnessError,
    InitialWeights,
    Model,
    ModelProbe,
    Perturbation,
    Phantom,
    PlantedFault,
    PublishedResult,
    RemoteFile,
    Splits,
    Table,
    four_views,
    hookimpl,
)

CLASSES = tuple(os.environ.get("TOY_CLASSES", "red,green,blue").split(","))


DOWNLOAD = bytes(range(256)) * 1000
"""What ``absent.zip`` holds on its server."""


def absent(folder):
    return "" if (folder / "absent.zip").exists() else f"no absent.zip in {folder}"


def log(line):
    if path := os.environ.get("TOY_LOG"):
        with Path(path).open("a") as file:
            file.write(line + "\n")


class ToySplit:
    """Patches of 8x8 noisy pixels, tinted by class, brighter on the left."""

    def __init__(self, name, n, seed):
        rng = np.random.default_rng(seed)
        self.labels = np.arange(n) % 3
        images = rng.integers(0, 120, (n, 8, 8, 3))
        images[np.arange(n), :, :, self.labels] += 60
        images[:, :, :4] += 40
        self.images = images.astype(np.uint8)
        self.ids = [f"{name}/{i}" for i in range(n)]

    @property
    def fingerprint(self):
        if fixed := os.environ.get("TOY_FINGERPRINT"):
            return fixed
        return hashlib.sha256(self.images.tobytes() + self.labels.tobytes()).hexdigest()

    def read(self, indices):
        return self.images[np.asarray(indices)]


class ToyModel:
    def __init__(self, name, means):
        self.name, self.means = name, means

    def logits(self, inputs):
        log(f"predict {self.name}")
        values = inputs.astype(np.float32)
        if values.ndim == 4:
            values = values[:, :, :4].mean(axis=(1, 2))  # one half, so that flips matter
        return -np.linalg.norm(values[:, None] - self.means[None], axis=2).astype(np.float32)

    def save(self, folder):
        if os.environ.get("TOY_DISK_FULL") == self.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        (folder / "half.txt").write_text("only half of what is to be saved")
        log(f"saving {self.name}")
        time.sleep(float(os.environ.get("TOY_SLOW_SAVE", "0")))
        np.save(folder / "means.npy", self.means)
        (folder / "name.json").write_text(json.dumps(self.name))


def load(folder, settings):
    return ToyModel(json.loads((folder / "name.json").read_text()), np.load(folder / "means.npy"))


def fit(name):
    def fit(train, validation, context):
        if context.settings.get("fail"):
            raise RuntimeError("the toy model was told to fail")
        assert (validation is None) == (name != "toy-mean")
        values = train.read(np.arange(len(train.labels))).astype(np.float32)
        if values.ndim == 4:
            values = values.mean(axis=(1, 2))
        means = np.stack([values[train.labels == label].mean(axis=0) for label in range(3)])
        checkpoint = context.folder / "step.json"
        done = json.loads(checkpoint.read_text()) if checkpoint.exists() else 0
        for step in range(done, int(context.settings.get("steps", 1))):
            time.sleep(float(os.environ.get("TOY_SLOW_STEP", "0")))
            if context.after_epoch and not os.environ.get("TOY_MUTE"):
                context.after_epoch(step, ToyModel(name, np.roll(means, step, axis=0)), -step)
            checkpoint.write_text(json.dumps(step + 1))
            log(f"step {step} of {name}")
        return ToyModel(name, means + context.seed)

    return fit


def initial_weights(settings):
    if os.environ.get("TOY_NO_WEIGHTS"):
        raise HarnessError("weights.bin: not there")
    return InitialWeights(label="none", digest="none")


def extract(images):
    log("extract")
    return images.mean(axis=(1, 2)).astype(np.float32)


@hookimpl
def harness_datasets():
    def fixed(folder):
        n = int(os.environ.get("TOY_TRAIN", "60"))
        return Splits(train=ToySplit("train", n, 1), test=ToySplit("test", 30, 2))

    def folds(folder):
        return Splits(train=None, test=ToySplit("all", 30, 3), folds=3, shortfall="30 of 90")

    def groups(folder):
        test = ToySplit("grouped", 30, 6)
        patients = [f"patient {i // 5}" for i in range(30 - int(os.environ.get("TOY_LACK", "0")))]
        return Splits(train=None, test=test, folds=3, groups=patients)

    return [
        Dataset(
            name="toy-groups",
            title="Toy of six patients",
            classes=CLASSES,
            load=groups,
            on_request=True,
        ),
        Dataset(name="toy", title="Toy", classes=CLASSES, load=fixed, test_set="toy test"),
        Dataset(
            name="toy-folds",
            title="Toy, cross-validated",
            classes=CLASSES,
            load=folds,
            test_set="toy test",
            demo=True,
        ),
        Dataset(
            name="toy-test-only",
            title="Nothing to fit on",
            classes=CLASSES,
            load=lambda folder: Splits(train=None, test=ToySplit("lone", 4, 5)),
            on_request=True,
        ),
        Dataset(
            name="toy-absent",
            title="Not here until it is downloaded",
            classes=CLASSES,
            load=fixed,
            missing=absent,
            downloads=(
                RemoteFile(
                    name="absent.zip",
                    url="http://127.0.0.1:9/files/absent.zip",
                    md5=hashlib.md5(DOWNLOAD).hexdigest(),
                    size=len(DOWNLOAD),
                ),
            ),
        ),
    ]


@hookimpl
def harness_models():
    return [
        Model(
            name="toy-mean",
            title="Nearest mean color",
            fit=fit("toy-mean"),
            load=load,
            settings={"steps": 3, "scale": 1.0, "fail": False},
            demo_settings={"steps": 2},
            execution={"workers": 1},
            selects=True,
            reports_epochs=True,
            initial_weights=initial_weights,
        ),
        Model(
            name="toy-features",
            title="Nearest mean color, from features",
            fit=fit("toy-features"),
            load=load,
            features=Features(name="toy-means", extract=extract),
        ),
        Model(
            name="toy-impossible",
            title="Needs what nobody has",
            fit=fit("toy-impossible"),
            load=load,
            requires=("surely_not_installed",),
            install="pip install surely-not-installed",
        ),
        DerivedModel(
            name="toy-mean+flips+flips",
            title="Four views of four views",
            terms=four_views("toy-mean+flips"),
        ),
        DerivedModel(
            name="toy-mean+flips+hflip", title="Flipped", terms=(("toy-mean+flips", "hflip"),)
        ),
        DerivedModel(
            name="toy-itself", title="Derived from itself", terms=(("toy-itself", "identity"),)
        ),
        DerivedModel(
            name="toy-mean+flips", title="Nearest mean, four views", terms=four_views("toy-mean")
        ),
    ]


@hookimpl
def harness_perturbations():
    def noise(patch, level, rng):
        if os.environ.get("TOY_BROKEN_NOISE") == f"{level:g}":
            raise RuntimeError("the toy noise was told to fail")
        shifted = patch + rng.normal(0, level, patch.shape)
        return np.clip(shifted, 0, 255).astype(np.uint8)

    def toward(patch, level, rng, target):
        shifted = patch + target - patch.mean(axis=(0, 1))
        return np.clip(shifted, 0, 255).astype(np.uint8)

    return [
        Perturbation(name="toy-noise", title="Noise", levels=(5, 50), apply=noise),
        Perturbation(
            name="toy-toward",
            title="Mean color of a class",
            apply=toward,
            role="steering",
            learns=Features(name="toy-means", extract=extract),
        ),
    ]


@hookimpl
def harness_probes():
    def share(predictions):
        noisy = predictions.under("toy-noise", 50)
        if noisy is None:
            return None
        if os.environ.get("TOY_BROKEN_PROBE"):
            raise RuntimeError("the toy probe was told to fail")
        clean = float((predictions.clean.argmax(axis=1) == 0).mean())
        return Finding(
            summary=f"{clean:.2f} are called red",
            estimates=(
                Estimate(name="share of red", value=clean, low=0.0, high=1.0),
                Estimate(name="with noise", value=float((noisy.argmax(axis=1) == 0).mean())),
            ),
        )

    def brightness(audit):
        if os.environ.get("TOY_BROKEN_PROBE"):
            raise RuntimeError("the toy probe was told to fail")
        log("toy-brightness asked")
        reading = float(audit.test.values["toy-means"].mean())
        table = Table(
            name="t", title="A table", headings=("a", "b"), rows=(("x", 1.5), ("y", None))
        )
        return Finding(
            summary=f"brightness {reading:.0f}",
            tables=(table,),
            reading=reading,
            flag=None if os.environ.get("TOY_OPEN_VERDICT") else reading > 150,
        )

    return [
        ModelProbe(
            name="toy-share",
            title="Share of red",
            measure=share,
            needs=lambda perturbations: ["toy-noise"],
            columns=(
                Column(
                    estimate="share of red",
                    heading="red %",
                    about="how many patches are called red.",
                    show=lambda estimate: f"{100 * estimate.value:.0f}",
                ),
            ),
            plots={"red": picture},
        ),
        DatasetProbe(
            name="toy-brightness",
            title="Brightness",
            features=(Features(name="toy-means", extract=extract),),
            measure=brightness,
            plots={"bright": lambda finding: picture({}, (), ())},
            galleries={"pair": pair},
            check=check_brightness,
            tuned_on=lambda ids: np.array([name.endswith("/0") for name in ids]),
            limits="It would have seen 100 gray levels of brightness",
        ),
    ]


def pair(finding):
    ids = os.environ.get("TOY_GALLERY", "").split()
    if "broken" in ids:
        raise RuntimeError("the toy gallery was told to fail")
    return [("two of a kind", tuple(ids))] if ids else []


def check_brightness(split, progress):
    if os.environ.get("TOY_BROKEN_CHECK"):
        raise RuntimeError("the toy check was told to fail")
    rows = ((len(split.labels),),)
    return [Table(name="known", title="Known changes", headings=("patches",), rows=rows)]


def picture(findings, published, classes):
    from matplotlib.figure import Figure as Picture

    if os.environ.get("TOY_BROKEN_PLOT"):
        raise RuntimeError("the toy plot was told to fail")
    drawn = Picture(figsize=(2, 2))
    drawn.add_subplot().plot([0, 1])
    return drawn


@hookimpl
def harness_phantoms():
    def make(seed):
        def plant(doses):
            if os.environ.get("TOY_BROKEN_PHANTOM"):
                raise RuntimeError("the toy phantom was told to fail")
            log(f"plant {seed} {dict(doses)}")
            split = ToySplit("phantom", 9, seed)
            lighter = split.images + int(100 * doses.get("light", 0))
            split.images = np.clip(lighter, 0, 255).astype(np.uint8)
            return Splits(train=ToySplit("other", 9, seed + 1), test=split)

        return plant

    fault = Fault(
        name="light",
        title="Too light",
        doses=(0.1, 1.0),
        raises=("toy-brightness",),
        fitted="not fitted",
    )
    return [
        Phantom(
            name="toy-phantom", title="Toy phantom", classes=CLASSES, faults=(fault,), make=make
        )
    ]


@hookimpl
def harness_faults():
    def lighter(patch, level, rng):
        if os.environ.get("TOY_BROKEN_FAULT"):
            raise RuntimeError("the toy fault was told to fail")
        log(f"lighter {level:g}")
        return np.clip(patch + np.float64(level), 0, 255).astype(np.uint8)

    def tinted(patch, level, rng):
        tint = np.array([level, 0.0, 0.0])
        return np.clip(patch * 0.2 + tint, 0, 255).astype(np.uint8)

    common = {"unit": "gray levels", "plant": lighter}
    return [
        PlantedFault(
            name="toy-lighter",
            title="lighter",
            doses=(1, 100, 120),
            levels=lambda dose: (dose, dose),
            raises=("toy-brightness", "toy-absent"),
            **common,
        ),
        PlantedFault(
            name="toy-darker-test",
            title="test patches darker",
            doses=(20,),
            levels=lambda dose: (0, -dose),
            of_split=True,
            **common,
        ),
        PlantedFault(
            name="toy-tinted",
            title="red by class",
            doses=(5, 60),
            levels=lambda dose: (0, dose, 2 * dose),
            raises=("toy-brightness",),
            unit="gray levels of red",
            plant=tinted,
        ),
    ]


@hookimpl
def harness_published_results():
    common = {
        "test_set": "toy test",
        "trained_on": "",
        "selected_on": "test",
        "tta": "none",
        "source": "a toy paper, Table 1",
        "checked": "source",
        "n": 30,
    }
    return [
        PublishedResult(model="toy-mean", title="Toy mean", accuracy=0.5, **common),
        PublishedResult(model="toy-deep", title="ToyDeep", accuracy=0.9, reference=True, **common),
        PublishedResult(
            model="toy-deep",
            title="ToyDeep",
            accuracy=0.1,
            perturbation="toy-noise",
            level=50,
            **common,
        ),
    ]


@hookimpl
def harness_commands():
    def run(session, options):
        print(", ".join(session.registry.datasets))
        return 0

    return [Command(name="toy-datasets", title="Name all datasets", run=run)]


@hookimpl
def harness_run_started(jobs):
    log(f"run started with {len(jobs)} jobs")


@hookimpl
def harness_result_stored(record, folder):
    log(f"stored {record['key']['kind']} in {folder.name}")


@hookimpl
def harness_run_ended(failures):
    log(f"run ended with {len(failures)} failures")
