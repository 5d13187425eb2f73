"""What models that are fitted promise."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.checks.bench import FIT_TOLERANCE, Bench, compare, scramble, shaped, unchanged
from harness.checks.fakes import Held, Watched
from harness.checks.outcome import Broken, Skipped
from harness.checks.watching import none_outside
from harness.data.handover import kept
from harness.data.views import VIEWS, apply_view
from harness.errors import HarnessError
from harness.jobs.outputs import as_stored, doubt, kind_of
from harness.planning.choose import lacks
from harness.types.models import Classifier, Model, Setting
from harness.types.options import check

KILLED = 77
"""Exit code of a process that dies in the middle of a fit."""
MANY_BYTES = 128 * 2**20
"""Size of a training split, decoded, that shows whether a fit holds it in memory."""
MANY_PATCHES = 4000
"""Patches of such a split at most; it takes patches of some size to tell."""


class Stopped(BaseException):
    """Ends a fit on purpose; no "except Exception" of a plugin stops it."""


# What the promises share


def first_fit(model: Model, bench: Bench) -> tuple[Classifier, int, int]:
    """The model fitted on the few patches, once; how often it read those to fit and to select on.

    Reads in other processes are not counted.
    """
    if model.given is not None:
        raise Skipped("is about certain patches alone")

    def make() -> tuple[Classifier, int, int]:
        if lack := lacks(bench.registry, model.name):
            raise Skipped(lack)
        inputs = bench.inputs(model)
        assert inputs.train is not None
        assert inputs.validation is not None
        train, validation = Watched(inputs.train), Watched(inputs.validation)
        classifier = bench.fit(model, train=train, validation=validation)
        check_classifier(classifier, "fit")
        return classifier, train.reads, validation.reads

    return bench.once(("fitted", model.name), make)


def fitted(model: Model, bench: Bench) -> Classifier:
    """The model fitted on the few patches, once."""
    return first_fit(model, bench)[0]


def check_classifier(found: Any, function: str) -> None:
    """Raise Broken unless what a function of the model returned is a classifier."""
    absent = [name for name in ("logits", "save") if not callable(getattr(found, name, None))]
    if absent:
        raise Broken(
            f"{function} returned {shaped(found)} without {' and '.join(absent)}",
            "return an object with logits(inputs) and save(folder)",
        )


def test_inputs(model: Model, bench: Bench) -> Held:
    """What the classifier predicts: the few test patches, or their features."""
    split = bench.inputs(model).test
    assert isinstance(split, Held)
    return split


def predicted(classifier: Classifier, inputs: NDArray[Any], bench: Bench) -> NDArray[np.float32]:
    """Logits of a batch, after a look at their shape."""
    logits = classifier.logits(inputs.copy())
    wanted = (len(inputs), len(bench.classes))
    if (
        not isinstance(logits, np.ndarray)
        or logits.shape != wanted
        or not np.issubdtype(logits.dtype, np.floating)
    ):
        raise Broken(
            f"logits of {shaped(inputs)} are {shaped(logits)}",
            f"return a float32 array {wanted}, a column for each class",
        )
    if not np.isfinite(logits).all():
        raise Broken(
            f"{(~np.isfinite(logits)).sum()} of {logits.size} logits are NaN or infinite",
            "bound what goes into logarithms and divisions",
        )
    return logits


def logits_of(model: Model, bench: Bench) -> NDArray[np.float32]:
    """Logits of the few test patches, in one batch, once."""
    classifier = fitted(model, bench)

    def make() -> NDArray[np.float32]:
        return predicted(classifier, test_inputs(model, bench).values, bench)

    return bench.once(("logits", model.name), make)


def saved(model: Model, bench: Bench) -> Path:
    """The folder that the fitted model was saved in, once."""
    classifier = fitted(model, bench)

    def make() -> Path:
        folder = bench.new_folder("saved")
        classifier.save(folder)
        return folder

    return bench.once(("saved", model.name), make)


def loaded(model: Model, bench: Bench) -> Classifier:
    """The classifier that is loaded from what the fitted one saved, once."""
    folder = saved(model, bench)

    def make() -> Classifier:
        if not any(folder.iterdir()):
            raise Broken("save wrote nothing into its folder", "write what load needs")
        classifier = model.load(folder, bench.settings(model))
        check_classifier(classifier, "load")
        return classifier

    return bench.once(("loaded", model.name), make)


# Promises of a model


def fits(model: Model, bench: Bench) -> None:
    """``fit`` returns a classifier: an object with ``logits`` and ``save``."""
    fitted(model, bench)


def logits(model: Model, bench: Bench) -> None:
    """Logits are finite floats: a row for each patch, a column for each class."""
    logits_of(model, bench)


def outputs(model: Model, bench: Bench) -> None:
    """Outputs are what the model says they are: logits, probabilities or scores."""
    values = logits_of(model, bench)
    try:
        kind = kind_of(model, fitted(model, bench))
        as_stored(model.name, kind, values, *values.shape)
    except HarnessError as error:
        seen, _, fix = str(error).rpartition("; ")
        raise Broken(seen, fix) from error
    if kind == "logits" and (why := doubt(values)):
        seen, _, fix = why.rpartition("; ")
        raise Broken(seen, fix)


def any_batch(model: Model, bench: Bench) -> None:
    """The logits of a patch do not depend on the size of its batch or on its place there."""
    expected, inputs = logits_of(model, bench), test_inputs(model, bench).values
    classifier, fix = fitted(model, bench), "let no patch see the others (batch norm, sorting)"
    order = np.random.default_rng(0).permutation(len(inputs))
    mixed = predicted(classifier, inputs[order], bench)
    compare(expected[order], mixed, "logits of the same patches in another order", fix)
    for size in (1, 5):
        parts = [
            predicted(classifier, inputs[start : start + size], bench)
            for start in range(0, len(inputs), size)
        ]
        compare(expected, np.concatenate(parts), f"logits in batches of {size}", fix)


def one_class_batch(model: Model, bench: Bench) -> None:
    """A batch in which classes are missing is predicted as any other."""
    expected, split = logits_of(model, bench), test_inputs(model, bench)
    for label in np.unique(split.labels):
        rows = np.flatnonzero(split.labels == label)
        part = predicted(fitted(model, bench), split.values[rows], bench)
        what = f"logits of a batch of {bench.classes[label]} alone"
        compare(expected[rows], part, what, "use nothing but the patch itself")


def inputs_unchanged(model: Model, bench: Bench) -> None:
    """``logits`` leaves its inputs as they are."""
    classifier, given = fitted(model, bench), kept(test_inputs(model, bench).values)
    with unchanged("the array of patches was changed in place", given):
        classifier.logits(given)


def views(model: Model, bench: Bench) -> None:
    """Flipped patches have logits too, each what the patch has when it is flipped alone."""
    if model.features is not None:
        raise Skipped("fitted on features, which are extracted from flipped patches")
    inputs = test_inputs(model, bench).values
    for view in VIEWS:
        flipped = apply_view(inputs[:4], view)
        together = predicted(fitted(model, bench), flipped, bench)
        alone = [predicted(fitted(model, bench), flipped[row : row + 1], bench) for row in range(4)]
        compare(
            together, np.concatenate(alone), f"logits under {view}", "see the promise any_batch"
        )


def same_seed(model: Model, bench: Bench) -> None:
    """A seed decides a fit, whatever state the generators of random, numpy and torch are in."""
    expected = logits_of(model, bench)
    scramble()
    compare(
        expected,
        predicted(bench.fit(model), test_inputs(model, bench).values, bench),
        "logits after a second fit with the same seed",
        "seed every generator from context.seed, and use none that is global",
        FIT_TOLERANCE,
    )


def saves(model: Model, bench: Bench) -> None:
    """What was saved and loaded answers as before."""
    expected, classifier = logits_of(model, bench), loaded(model, bench)
    again = predicted(classifier, test_inputs(model, bench).values, bench)
    compare(expected, again, "logits after save and load", "save all that logits needs")


def elsewhere(model: Model, bench: Bench) -> tuple[dict[str, Any], Path]:
    """What a fresh process that fits, saves and loads answers, once, and its folder."""
    loaded(model, bench)
    content, (more, folder) = saved(model, bench), bench.task("fit", model.name)
    plugin = bench.registry.models.plugin[model.name]
    modules = ["torch"] if "torch" in sys.modules and "torch" in model.requires else []
    more |= {"saved": str(content), "modules": modules}
    return bench.once(
        ("elsewhere", model.name), lambda: (bench.in_fresh_process(more, folder, plugin), folder)
    )


def fresh_process(model: Model, bench: Bench) -> None:
    """A fresh process fits the same classifier, and loads the saved one alike."""
    expected = logits_of(model, bench)
    _, folder = elsewhere(model, bench)
    again, refitted = (np.load(folder / "results" / f"{name}.npy") for name in ("again", "logits"))
    fix = "save all that logits needs, and keep nothing in globals"
    compare(expected, again, "logits of the saved classifier in a fresh process", fix)
    fix = "seed every generator from context.seed; hash() of text differs between processes"
    what = "logits after a fit with the same seed in a fresh process"
    compare(expected, refitted, what, fix, FIT_TOLERANCE)


def own_folder(model: Model, bench: Bench) -> None:
    """Nothing is written outside ``context.folder``, the folder to save in, and caches."""
    answer, folder = elsewhere(model, bench)
    fix = "keep checkpoints in context.folder and everything else in the folder given to save"
    none_outside(answer["written"], folder, fix)


def memory(model: Model, bench: Bench) -> None:
    """Memory does not grow with the patches: neither that of a fit, nor that of ``logits``."""
    fitted(model, bench)
    if model.features is not None:
        raise Skipped("fitted on features, which are small")
    many = MANY_BYTES // bench.test.values[0].nbytes
    if many > MANY_PATCHES:
        raise Skipped("the patches are too small to tell; name other ones with --dataset")
    # Not the few patches: libraries and threads take their own share with the first full batches.
    some = many // 4
    content, folder = bench.task("memory", model.name)
    answer = bench.in_fresh_process({**content, "some": some, "many": many}, folder)
    if answer["grown"] > MANY_BYTES / 2:
        raise Broken(
            f"from {some} to {many} patches ({MANY_BYTES / 2**20:.0f} MiB decoded) the peak rose "
            f"by {answer['grown'] / 2**20:.0f} MiB",
            "read the patches in batches (harness.data.splits.stream) and keep no decoded ones",
        )
    if answer["held"] > MANY_BYTES / 8:
        raise Broken(
            f"after logits of {some} patches ({MANY_BYTES / 2**22:.0f} MiB decoded) "
            f"{answer['held'] / 2**20:.0f} MiB more were held",
            "keep nothing of what is predicted",
        )


def missing_class(model: Model, bench: Bench) -> None:
    """A class without training patches has its column of finite logits all the same."""
    fitted(model, bench)
    inputs = bench.inputs(model)
    assert isinstance(inputs.train, Held)
    assert isinstance(inputs.validation, Held)
    last = len(bench.classes) - 1
    if last < 2:
        raise Skipped("two classes: none can be left out")
    lacking = [0, last] if last > 2 else [last]  # both ends, where two classes are left to tell
    classifier = bench.fit(
        model,
        train=inputs.train.only(~np.isin(inputs.train.labels, lacking)),
        validation=inputs.validation.only(~np.isin(inputs.validation.labels, lacking)),
    )
    predicted(classifier, test_inputs(model, bench).values, bench)


def resumes(model: Model, bench: Bench) -> None:
    """A fit that was killed can be called again with the same folder."""
    fitted(model, bench)
    if model.trained_on:
        raise Skipped("is pretrained")
    _, reads, _ = first_fit(model, bench)
    if not reads:
        raise Skipped("its fit reads no training patch in this process")
    content, folder = bench.task("killed", model.name)
    workspace = bench.new_folder("resumed")
    half = {"read": reads // 2 + 1, "workspace": str(workspace), "killed_with": KILLED}
    bench.in_fresh_process({**content, **half}, folder)
    try:
        classifier = bench.fit(model, folder=workspace)
    except Exception as error:
        raise Broken(
            f"the second fit raised {type(error).__name__}: {error}",
            "write checkpoints to a temporary file, then rename it; ignore what cannot be read",
        ) from error
    predicted(classifier, test_inputs(model, bench).values, bench)


def reports_epochs(model: Model, bench: Bench) -> None:
    """With ``reports_epochs``, ``after_epoch`` gets epochs from 0, classifiers and scores."""
    fitted(model, bench)
    if not model.reports_epochs:
        raise Skipped("it does not say that it reports epochs")
    seen: list[int] = []

    def after_epoch(epoch: int, classifier: Classifier, score: float) -> None:
        predicted(classifier, test_inputs(model, bench).values[:5], bench)
        if not np.isfinite(score):
            raise Broken(f"the score of epoch {epoch} is {score}", "give a finite number")
        seen.append(epoch)

    bench.fit(model, after_epoch=after_epoch)
    if not seen or seen != list(range(len(seen))):
        told = f"for epochs {', '.join(map(str, seen))}" if seen else "never"
        raise Broken(
            f"after_epoch was called {told}",
            "call context.after_epoch(epoch, classifier, score) after each, from 0; or leave out "
            "reports_epochs",
        )


def selects(model: Model, bench: Bench) -> None:
    """With ``selects``, the validation patches are read."""
    _, _, reads = first_fit(model, bench)
    if not model.selects or model.trained_on:
        raise Skipped("it does not say that it selects")
    if not reads:
        if not first_fit(model, bench)[1]:
            raise Skipped("its fit reads no patch in this process")
        raise Broken(
            "the validation patches were never read, though a tenth of the training patches is "
            "held out for them",
            "choose a checkpoint on them, or leave out selects",
        )


def pretrained(model: Model, bench: Bench) -> None:
    """With ``trained_on``, ``fit`` reads no patch."""
    fitted(model, bench)
    if not model.trained_on:
        raise Skipped("it is not pretrained")
    if reads := first_fit(model, bench)[1]:
        raise Broken(
            f"fit read training patches {reads} times, though the model was trained on "
            f"{model.trained_on}",
            "return the network as it is, or leave out trained_on",
        )


def bad_settings(model: Model, bench: Bench) -> None:
    """A setting of -1 is accepted, or refused with a HarnessError that names the setting."""
    fitted(model, bench)
    settings = bench.settings(model)
    numbers = [key for key, value in settings.items() if type(value) in (int, float)]
    if not numbers:
        raise Skipped("it has no setting that is a number")
    for key in numbers:
        try:
            try_setting(model, bench, {**settings, key: type(settings[key])(-1)})
        except HarnessError as error:
            if key not in str(error):
                raise Broken(
                    f"{key}=-1 is refused by {str(error)!r}", f"name {key} in the message"
                ) from error
        except Exception as error:
            raise Broken(
                f"{key}=-1 raised {type(error).__name__}: {error}",
                "raise harness.HarnessError that names the setting and what it may be",
            ) from error


def try_setting(model: Model, bench: Bench, settings: dict[str, Setting]) -> None:
    """Fit with these settings, as a run would that allows them, until the training patches are
    read for the second time."""
    check(model.options, settings)
    train = bench.inputs(model).train
    assert train is not None

    def stop(count: int) -> None:
        if count > 1:
            raise Stopped

    try:
        bench.fit(model, train=Watched(train, stop), settings=settings)
    except Stopped:
        return


def description(model: Model, bench: Bench) -> None:
    """Estimate, device and initial weights are what they are described as."""
    fitted(model, bench)
    settings = bench.settings(model)
    if model.estimate is not None:
        seconds = model.estimate(1000, settings)
        if not (isinstance(seconds, int | float) and 0 <= seconds < float("inf")):
            raise Broken(f"estimate returned {seconds!r}", "return seconds, at least 0")
    if model.device is not None and not isinstance(device := model.device(settings), str):
        raise Broken(f"device returned {device!r}", 'return a name, "" for the CPU')
    if model.initial_weights is not None:
        weights = model.initial_weights(settings)
        if not (weights.label and weights.digest):
            raise Broken(
                f"the initial weights have the label {weights.label!r} and the digest "
                f"{weights.digest!r}",
                "give both: one stands in the row, the other in the key of results",
            )


MODEL = (
    fits,
    logits,
    outputs,
    any_batch,
    one_class_batch,
    inputs_unchanged,
    views,
    same_seed,
    saves,
    fresh_process,
    own_folder,
    memory,
    missing_class,
    resumes,
    reports_epochs,
    selects,
    pretrained,
    bad_settings,
    description,
)
