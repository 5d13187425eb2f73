"""A plugin in one file that offers something of every kind and keeps every promise.

``test_contract_broken.py`` breaks one promise at a time, by replacing a line of this file.
"""

import json
from pathlib import Path

import numpy as np

from harness import (
    Column,
    Command,
    Dataset,
    DatasetProbe,
    DerivedModel,
    Estimate,
    Event,
    Executor,
    Fault,
    Features,
    Finding,
    HarnessError,
    Metric,
    Model,
    ModelFamily,
    ModelProbe,
    Perturbation,
    Phantom,
    PlantedFault,
    PublishedResult,
    Reader,
    Report,
    Splits,
    four_views,
    hookimpl,
)

CLASSES = ("dark", "light")


class Nearest:
    """Nearest mean color."""

    def __init__(self, means):
        self.means = means

    def logits(self, images):
        colors = images.mean(axis=(1, 2))
        logits = -np.linalg.norm(colors[:, None] - self.means, axis=2)
        return logits.astype(np.float32)

    def save(self, folder):
        np.save(folder / "means.npy", self.means)


def load(folder, settings):
    return Nearest(np.load(folder / "means.npy"))


def fit(train, validation, context):
    if context.settings["epochs"] < 1:
        raise HarnessError(f"setting epochs={context.settings['epochs']}: must be at least 1")
    rng = np.random.default_rng(context.seed)
    sums, counts = np.zeros((len(context.classes), 3)), np.zeros(len(context.classes))
    for start in range(0, len(train.labels), 16):
        rows = np.arange(start, min(start + 16, len(train.labels)))
        colors = train.read(rows).mean(axis=(1, 2))
        np.add.at(sums, train.labels[rows], colors)
        np.add.at(counts, train.labels[rows], 1)
    means = sums / np.maximum(counts, 1)[:, None]
    checkpoint = context.folder / "epoch.json"
    first = json.loads(checkpoint.read_text()) if checkpoint.exists() else 0
    best = Nearest(means)
    for epoch in range(first, context.settings["epochs"]):
        best = Nearest(means + rng.normal(0, 5, means.shape))
        chosen = np.arange(len(validation.labels))
        score = (best.logits(validation.read(chosen)).argmax(axis=1) == validation.labels).mean()
        if context.after_epoch:
            context.after_epoch(epoch, best, float(score))
        temporary = context.folder / "epoch.tmp"
        temporary.write_text(json.dumps(epoch + 1))
        temporary.replace(checkpoint)
    return best


def fit_colors(train, validation, context):
    colors = train.read(np.arange(len(train.labels)))
    means = [colors[train.labels == label] for label in range(len(context.classes))]
    return NearestFeatures(np.stack([m.mean(axis=0) if len(m) else np.full(3, 1e3) for m in means]))


class NearestFeatures(Nearest):
    def logits(self, colors):
        return -np.linalg.norm(colors[:, None] - self.means, axis=2).astype(np.float32)


def load_colors(folder, settings):
    return NearestFeatures(np.load(folder / "means.npy"))


def extract(images):
    return images.mean(axis=(1, 2)).astype(np.float32)


def fit_given(train, validation, context):
    return Nearest(np.linspace(0, 255, len(context.classes))[:, None] * np.ones(3))


class Files:
    """PNG files named <label>-<number>.png."""

    def __init__(self, folder):
        self.paths = sorted(folder.glob("*.png"))
        self.labels = np.array([int(path.name[0]) for path in self.paths], np.int64)
        self.ids = [f"{folder.name}/{path.stem}" for path in self.paths]

    @property
    def fingerprint(self):
        import hashlib

        return hashlib.sha256(" ".join(self.ids).encode()).hexdigest()

    def read(self, indices):
        import cv2

        found = [cv2.imread(str(self.paths[index])) for index in indices]
        return np.stack(found)[..., ::-1]


def list_files(folder):
    train, test = Files(folder / "kit" / "train"), Files(folder / "kit" / "test")
    return Splits(train=train, test=test, groups=[id_[-1] for id_ in test.ids])


def missing(folder):
    return "" if (folder / "kit" / "train").is_dir() else f"no kit in {folder}; make it"


@hookimpl
def harness_datasets():
    return [
        Dataset(
            name="kit-files",
            title="Files",
            classes=CLASSES,
            load=list_files,
            missing=missing,
        )
    ]


@hookimpl
def harness_models():
    return [
        Model(
            name="kit-nearest",
            title="Nearest mean color",
            fit=fit,
            load=load,
            settings={"epochs": 2},
            selects=True,
            reports_epochs=True,
        ),
        Model(
            name="kit-colors",
            title="Nearest mean color, from features",
            fit=fit_colors,
            load=load_colors,
            features=Features(name="kit-colors", extract=extract),
        ),
        Model(
            name="kit-given",
            title="Comes fitted",
            fit=fit_given,
            load=load,
            trained_on="elsewhere",
        ),
        DerivedModel(name="kit-sum", title="Sum", terms=four_views("kit-nearest")),
        ModelFamily(name="kit", title="A family", make=make, example="kit:3"),
    ]


def make(rest):
    if not rest.isdecimal():
        raise HarnessError(f"kit:{rest}: say a number")
    return DerivedModel(name=f"kit:{rest}", title=rest, terms=(("kit-nearest", "identity"),))


def noise(patch, level, rng):
    noisy = patch + rng.normal(0, level, patch.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)


def toward(patch, level, rng, target):
    return np.clip(patch + target - patch.mean(axis=(0, 1)), 0, 255).astype(np.uint8)


@hookimpl
def harness_perturbations():
    return [
        Perturbation(name="kit-noise", title="Noise", levels=(5, 50), apply=noise),
        Perturbation(
            name="kit-toward",
            title="Mean color of a class",
            apply=toward,
            role="steering",
            learns=Features(name="kit-colors", extract=extract),
        ),
    ]


def brightness(audit):
    reading = float(audit.test.values["kit-colors"].mean())
    return Finding(summary=f"brightness {reading:.0f}", reading=reading, flag=reading > 150)


def steadiness(predictions):
    noisy = predictions.under("kit-noise", 50)
    if noisy is None:
        return None
    same = (noisy.argmax(axis=1) == predictions.clean.argmax(axis=1)).mean()
    return Finding(summary=f"{same:.2f}", estimates=(Estimate(name="steady", value=float(same)),))


def draw(finding):
    from matplotlib.figure import Figure as Picture

    picture = Picture(figsize=(2, 2))
    picture.add_subplot().plot([0, finding.reading])
    return picture


@hookimpl
def harness_probes():
    return [
        DatasetProbe(
            name="kit-brightness",
            title="Brightness",
            features=(Features(name="kit-colors", extract=extract),),
            measure=brightness,
            plots={"bright": draw},
            galleries={"brightest": lambda finding: []},
        ),
        ModelProbe(
            name="kit-steadiness",
            title="Steadiness",
            measure=steadiness,
            needs=lambda perturbations: ["kit-noise"],
            columns=(
                Column(
                    estimate="steady",
                    heading="steady %",
                    about="how many patches are called the same.",
                    show=lambda estimate: f"{100 * estimate.value:.0f}",
                ),
            ),
        ),
    ]


class Memory:
    def __init__(self, name, images):
        self.images, self.labels = images, np.arange(len(images)) % 2
        self.ids = [f"{name}/{row}" for row in range(len(images))]
        self.fingerprint = name

    def read(self, indices):
        return self.images[np.asarray(indices)]


def render(seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 200, (8, 16, 16, 3), dtype=np.uint8)

    def plant(doses):
        lighter = images + int(50 * doses.get("light", 0))
        return Splits(train=Memory("a", images), test=Memory("b", lighter.astype(np.uint8)))

    return plant


@hookimpl
def harness_phantoms():
    light = Fault(
        name="light", title="Light", doses=(1.0,), raises=("kit-brightness",), fitted="not fitted"
    )
    return [
        Phantom(name="kit-phantom", title="Noise", classes=CLASSES, faults=(light,), make=render)
    ]


def brighter(patch, level, rng):
    return np.clip(patch + np.float64(level), 0, 255).astype(np.uint8)


@hookimpl
def harness_faults():
    return [
        PlantedFault(
            name="kit-brighter",
            title="Brighter",
            unit="gray levels",
            doses=(10, 20),
            levels=lambda dose: (0, dose),
            plant=brighter,
            raises=("kit-brightness",),
        )
    ]


@hookimpl
def harness_published_results():
    return [
        PublishedResult(
            test_set="kit test",
            model="kit-deep",
            title="Kit deep",
            trained_on="",
            selected_on="test",
            tta="none",
            source="a paper, Table 1",
            checked="source",
            n=10,
            accuracy=0.7,
            confusion=((4, 1), (2, 3)),
            classes=CLASSES,
        )
    ]


def read(path, content):
    unknown = set(content) - {"kind", "folder"}
    if unknown or "folder" not in content:
        raise HarnessError(f"{path}: say folder, and nothing else but kind")
    folder = Path(content["folder"])
    return [Dataset(name=path.stem, title="", classes=CLASSES, load=lambda _: list_files(folder))]


@hookimpl
def harness_readers():
    return [Reader(name="kit-folder", title="A folder", read=read)]


def sure(given):
    if given.probabilities is None:
        return None
    return given.mean(given.probabilities.max(axis=1))


@hookimpl
def harness_metrics():
    return [Metric(name="kit-sure", title="Confidence", value=sure)]


def write(board, folder):
    path = folder / f"{board.dataset['name']}-kit.txt"
    path.write_text(str(len(board.rows)))
    return [path]


@hookimpl
def harness_reports():
    return [Report(name="kit-count", title="How many rows", write=write)]


def add_arguments(parser):
    parser.add_argument("--rows", help="how many")


def run(session, options):
    print(options.rows)
    return 0


@hookimpl
def harness_commands():
    return [Command(name="kit-rows", title="Say", run=run, add_arguments=add_arguments)]


class Here:
    """Computes in this process."""

    def __init__(self, session, options):
        self.session, self.events = session, []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        pass

    where = "this process"

    @property
    def has_room(self):
        return not self.events

    def estimate(self, job):
        return None

    def submit(self, group):
        from harness import jobs

        answers = jobs.run(self.session.as_json(), [job.as_json() for job in group])
        for job, answer in zip(group, answers, strict=True):
            self.events.append(Event(group, job, jobs.problem(self.session, answer)))
        self.events.append(Event(group))

    def next(self, seconds):
        return self.events.pop(0) if self.events else None


@hookimpl
def harness_executors():
    return [Executor(name="kit-here", title="This process", start=Here)]
