"""The hooks: what a plugin may implement.

A plugin is a module with some of these functions, marked with ``harness.hookimpl``: a file given
with ``--plugin``, or a module named in the entry-point group ``harness``:

    [project.entry-points.harness]
    my_plugin = "my_package.my_module"

Seven hooks are asked once, when plugins are loaded, for descriptions of what the plugin offers;
three tell trackers how a run goes. Each example is a whole plugin, which the tests run;
``docs/hooks`` has a page for each hook, made of what is said here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pluggy

from harness.probes import DatasetProbe, ModelProbe, Phantom
from harness.types import (
    Dataset,
    DerivedModel,
    Model,
    ModelFamily,
    Perturbation,
    PublishedResult,
    Reader,
)

hookspec = pluggy.HookspecMarker("harness")
hookimpl = pluggy.HookimplMarker("harness")


@hookspec
def harness_datasets() -> Iterable[Dataset]:
    """Datasets to evaluate on.

    Return a ``Dataset`` for each. Nothing is read before its ``load`` is called, which only lists
    the patches; they are decoded when a model or a probe asks for them. For patches in class
    folders, tables or Parquet files a TOML file does, without a plugin.

    Example:

        import numpy as np
        from harness import Dataset, Splits, hookimpl

        class Split:
            def __init__(self, name, n):
                self.labels = np.arange(n) % 2
                self.ids = [f"{name}/{i}" for i in range(n)]
                self.fingerprint = f"version 1 of {name}"

            def read(self, indices):  # uint8 RGB (len(indices), H, W, 3)
                shades = 100 + 60 * self.labels[np.asarray(indices)]
                images = np.full((len(shades), 32, 32, 3), shades[:, None, None, None])
                return images.astype(np.uint8)

        @hookimpl
        def harness_datasets():
            return [
                Dataset(
                    name="two-shades",
                    title="Dark and light",
                    classes=("DARK", "LIGHT"),
                    load=lambda folder: Splits(train=Split("train", 40), test=Split("test", 20)),
                )
            ]
    """
    raise AssertionError("a hook specification is never called")


@hookspec
def harness_models() -> Iterable[Model | DerivedModel | ModelFamily]:
    """Models to fit, sums of logits of other models, and families of models.

    Return a ``Model`` for what is fitted, a ``DerivedModel`` for a sum of stored logits, which
    costs nothing, and a ``ModelFamily`` for a family of models, each made when it is named as
    ``FAMILY:REST``. A scikit-learn estimator becomes a Model by ``estimator_model``.

    Example:

        import numpy as np
        from harness import DerivedModel, Features, estimator_model, hookimpl

        def darkness(images):  # uint8 RGB (B, H, W, 3) -> float32 (B, D)
            return (255 - images.mean(axis=(1, 2, 3)))[:, None].astype(np.float32)

        def tree(settings, seed):
            from sklearn.tree import DecisionTreeClassifier
            return DecisionTreeClassifier(max_depth=settings["depth"], random_state=seed)

        @hookimpl
        def harness_models():
            features = Features(name="darkness", extract=darkness)
            yield estimator_model(
                name="darkness",
                title="How dark a patch is; decision tree",
                estimator=tree,
                features=features,
                settings={"depth": 4},
            )
            yield DerivedModel(
                name="darkness-and-color",
                title="Darkness and color histogram",
                terms=(("darkness", "identity"), ("color-histogram", "identity")),
            )
    """
    raise AssertionError("a hook specification is never called")


@hookspec
def harness_perturbations() -> Iterable[Perturbation]:
    """Changes to make to test patches before they are predicted.

    Return a ``Perturbation`` for each, with the levels to try. ``apply`` gets one patch at a time;
    what is random in it comes from the generator that it is given.

    Example:

        import numpy as np
        from harness import Perturbation, hookimpl

        def dust(patch, level, rng):  # uint8 RGB (H, W, 3), the same out
            dirty = patch.copy()
            dirty[rng.random(patch.shape[:2]) < level] = 40
            return dirty

        @hookimpl
        def harness_perturbations():
            return [Perturbation(name="dust", title="Dust", levels=(0.01, 0.05), apply=dust)]
    """
    raise AssertionError("a hook specification is never called")


@hookspec
def harness_probes() -> Iterable[DatasetProbe | ModelProbe]:
    """Questions to ask of a dataset, or of a model's stored predictions.

    Return a ``DatasetProbe`` for what ``harness audit`` asks of patches, by features that are
    extracted in one pass for all probes; a ``ModelProbe`` for what is asked of stored logits. A
    ModelProbe with ``columns`` adds columns to the leaderboard.

    Example:

        from harness import Column, Figure, Finding, ModelProbe, hookimpl

        def measure(predictions):
            called = predictions.clean.argmax(axis=1)
            most = max((called == c).mean() for c in range(len(predictions.classes)))
            return Finding(
                summary=f"calls {most:.0%} of patches by its favorite class",
                figures=(Figure(name="favorite", value=float(most)),),
            )

        @hookimpl
        def harness_probes():
            column = Column(
                figure="favorite",
                heading="favorite %",
                about="share of patches that are called by the most predicted class.",
                show=lambda figure: f"{100 * figure.value:.0f}",
            )
            return [
                ModelProbe(
                    name="favorite",
                    title="The class that is predicted most",
                    measure=measure,
                    columns=(column,),
                )
            ]
    """
    raise AssertionError("a hook specification is never called")


@hookspec
def harness_phantoms() -> Iterable[Phantom]:
    """Synthetic patches with planted faults, to calibrate dataset probes.

    Return a ``Phantom`` for each; ``harness calibrate`` plants its faults at several doses and
    counts how often each probe raises its flag.

    Example:

        import numpy as np
        from harness import Fault, Phantom, Splits, hookimpl

        class Split:
            def __init__(self, name, seed, red):
                rng = np.random.default_rng([seed, *name.encode()])
                self.labels = np.arange(12) % 2
                self.images = rng.integers(60, 200, (12, 32, 32, 3)).astype(np.uint8)
                self.images[self.labels == 1, :, :, 0] += np.uint8(50 * red)
                self.ids = [f"{name}/{i}" for i in range(12)]
                self.fingerprint = f"noise 1 {name} {seed} {red}"

            def read(self, indices):
                return self.images[np.asarray(indices)]

        def make(seed):
            def plant(doses):
                red = doses.get("red", 0.0)
                return Splits(train=Split("train", seed, red), test=Split("test", seed, red))

            return plant

        @hookimpl
        def harness_phantoms():
            red = Fault(
                name="red",
                title="One class is redder",
                doses=(0.5, 1.0),
                raises=(),
                fitted="not fitted to real data",
            )
            return [
                Phantom(name="noise", title="Noise", classes=("A", "B"), faults=(red,), make=make)
            ]
    """
    raise AssertionError("a hook specification is never called")


@hookspec
def harness_published_results() -> Iterable[PublishedResult]:
    """Figures from the literature, for reference beside measured ones.

    Return a ``PublishedResult`` for each figure, with its source down to the table. It joins the
    leaderboard of each dataset whose ``test_set`` has the same name; a measured model of the same
    name that was trained on the same data is compared with it.

    Example:

        from harness import PublishedResult, hookimpl

        @hookimpl
        def harness_published_results():
            return [
                PublishedResult(
                    test_set="CRC-VAL-HE-7K",
                    model="color-histogram-of-mine",
                    title="My color histogram",
                    trained_on="NCT-CRC-HE-100K",
                    selected_on="none",
                    tta="none",
                    source="my thesis, Table 3",
                    checked="source",
                    n=7180,
                    accuracy=0.81,
                )
            ]
    """
    raise AssertionError("a hook specification is never called")


@hookspec
def harness_readers() -> Iterable[Reader]:
    """Kinds of TOML file that describe a dataset, a model or the like.

    Return a ``Reader`` for each kind. When a user says ``--plugin FILE.toml``, the reader named by
    the file's ``kind`` turns it into contributions, which are then known by their names.

    Example:

        from harness import DerivedModel, HarnessError, Reader, hookimpl

        def read(path, content):
            extra = set(content) - {"kind", "name", "models"}
            if extra or not content.get("models"):
                raise HarnessError(f"{path}: say name and models, and nothing else")
            return [
                DerivedModel(
                    name=content.get("name", path.stem),
                    title="Sum of " + ", ".join(content["models"]),
                    terms=tuple((model, "identity") for model in content["models"]),
                )
            ]

        @hookimpl
        def harness_readers():
            return [Reader(name="sum", title="A sum of models", read=read)]
    """
    raise AssertionError("a hook specification is never called")


@hookspec
def harness_run_started(jobs: tuple[Mapping[str, Any], ...]) -> bool | None:
    """A run is about to start.

    A tracker that returns False has nothing to track, and is told nothing more of this run.

    ``jobs`` are the keys of the results that it still has to compute: ``kind``, ``dataset``,
    ``name`` and ``fields``. A hook that raises is reported, and costs nothing else.

    Example:

        from pathlib import Path
        from harness import hookimpl

        @hookimpl
        def harness_run_started(jobs):
            models = sorted({job["name"] for job in jobs if job["kind"] == "fit"})
            Path("to-fit.txt").write_text("\\n".join(models), encoding="utf-8")
    """


@hookspec
def harness_result_stored(
    record: Mapping[str, Any], folder: Path, figures: Mapping[str, float]
) -> None:
    """A result was stored: ``record`` says its provenance, ``folder`` holds it.

    Read there, do not write.

    ``figures`` says what a prediction comes to: accuracy, balanced_accuracy, macro_f1, mcc and,
    where it is defined, macro_auroc, as fractions of 1. It is empty for other kinds of results.
    The record's ``perturbation`` is "clean" or the name of what was done to the test patches.
    Predictions of perturbed patches are told one by one and stored together: ``folder`` then holds
    an array logits.npy (K, N, C), in which that of the record is at ``record["position"]``. Of fits
    and features, ``record["dataset"]`` is the dataset that they were computed for; others with the
    same patches use them, too.

    Example:

        from pathlib import Path
        from harness import hookimpl

        @hookimpl
        def harness_result_stored(record, figures):
            if record["key"]["kind"] == "prediction":
                with Path("accuracies.csv").open("a", encoding="utf-8") as file:
                    print(record["model"], record["perturbation"], figures["accuracy"], file=file)
    """


@hookspec
def harness_run_ended(failures: Mapping[str, str]) -> None:
    """A run is over. ``failures`` maps what did not finish to why; empty when all is well.

    Example:

        from pathlib import Path
        from harness import hookimpl

        @hookimpl
        def harness_run_ended(failures):
            lines = [f"{label}: {why}" for label, why in failures.items()]
            Path("outcome.txt").write_text("\\n".join(lines) or "all is well", encoding="utf-8")
    """
