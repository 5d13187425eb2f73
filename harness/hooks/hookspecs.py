"""The hooks: what a plugin may implement.

A plugin is a module with some of these functions, marked with ``harness.hookimpl``: a file given
with ``--plugin``, or a module named in the entry-point group ``harness``:

    [project.entry-points.harness]
    my_plugin = "my_package.my_module"

Most hooks are asked once, when plugins are loaded, for descriptions of what the plugin offers
(``harness.hooks.kinds``); three tell trackers how a run goes. Each example is a whole plugin, which
the tests run; ``docs/hooks`` has a page for each hook, made of what is said here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pluggy

from harness.types.commands import Command
from harness.types.datasets import Dataset
from harness.types.executors import Executor
from harness.types.faults import PlantedFault
from harness.types.metrics import Metric
from harness.types.models import DerivedModel, Model, ModelFamily
from harness.types.perturbations import Perturbation
from harness.types.phantoms import Phantom
from harness.types.probes import DatasetProbe, ModelProbe
from harness.types.published import PublishedResult
from harness.types.readers import Reader
from harness.types.reports import Report

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
    ``FAMILY:REST``. A scikit-learn estimator becomes a Model by ``estimator_model``, and
    ``neighbors_model`` makes one of nearest neighbors.

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
    what is random in it comes from the generator that it is given. ``level`` declares what a level
    may be and means; ``harness list --perturbation NAME`` shows it.

    Example:

        import numpy as np
        from harness import Option, Perturbation, hookimpl

        def dead_pixels(patch, level, rng):  # uint8 RGB (H, W, 3), the same out
            changed = patch.copy()
            changed[rng.random(patch.shape[:2]) < level] = 40
            return changed

        @hookimpl
        def harness_perturbations():
            return [
                Perturbation(
                    name="dead-pixels",
                    title="Dead pixels",
                    levels=(0.01, 0.05),
                    level=Option(0.01, ge=0, le=1, help="share of pixels that are dead"),
                    apply=dead_pixels,
                )
            ]
    """
    raise AssertionError("a hook specification is never called")


@hookspec
def harness_probes() -> Iterable[DatasetProbe | ModelProbe]:
    """Questions to ask of a dataset, or of a model's stored predictions.

    Return a ``DatasetProbe`` for what ``harness audit`` asks of patches, by features that are
    extracted in one pass for all probes; a ``ModelProbe`` for what is asked of stored logits. A
    ModelProbe with ``columns`` adds columns to the leaderboard.

    Example:

        from harness import Column, Estimate, Finding, ModelProbe, hookimpl

        def measure(predictions):
            called = predictions.clean.argmax(axis=1)
            most = max((called == c).mean() for c in range(len(predictions.classes)))
            return Finding(
                summary=f"calls {most:.0%} of patches by its favorite class",
                estimates=(Estimate(name="favorite", value=float(most)),),
            )

        @hookimpl
        def harness_probes():
            column = Column(
                estimate="favorite",
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
def harness_faults() -> Iterable[PlantedFault]:
    """Faults of acquisition that are planted in real patches, to calibrate dataset probes.

    Return a ``PlantedFault`` for each; ``harness calibrate --real DATASET`` deals labels at random
    within the classes, plants the fault by label at several doses, and counts how often each probe
    raises its flag. What plants a fault shares no code with the probes that look for it.

    Example:

        import numpy as np
        from harness import PlantedFault, hookimpl

        def brightened(patch, level, rng):
            return np.clip(patch + np.float64(level), 0, 255).astype(np.uint8)

        @hookimpl
        def harness_faults():
            return [
                PlantedFault(
                    name="one-brighter",
                    title="One class of three is brighter",
                    unit="gray levels of brightness",
                    doses=(2, 4, 8),
                    levels=lambda dose: (0, 0, dose),
                    plant=brightened,
                    raises=("tone",),
                )
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
    the file's ``kind`` turns it into contributions, which are then known by their names. With
    ``keys``, a class that says which keys there are, what is wrong in a file is told in a line that
    names the key; ``harness list --reader NAME`` lists them.

    Example:

        from harness import DerivedModel, Reader, hookimpl

        def keys():
            from pydantic import Field
            from harness.hooks.toml_keys import Keys

            class Sum(Keys):
                name: str | None = Field(None, description="of the sum")
                models: list[str] = Field(min_length=1, description="whose logits are added up")

            return Sum

        def read(path, said):
            return [
                DerivedModel(
                    name=said.name or path.stem,
                    title="Sum of " + ", ".join(said.models),
                    terms=tuple((model, "identity") for model in said.models),
                )
            ]

        @hookimpl
        def harness_readers():
            return [Reader(name="sum", title="A sum of models", read=read, keys=keys)]
    """
    raise AssertionError("a hook specification is never called")


@hookspec
def harness_metrics() -> Iterable[Metric]:
    """Figures of stored logits, each a column of the leaderboard.

    Return a ``Metric`` for each. Its ``value`` gets the labels, logits and probabilities of one
    trained model for the test patches and returns a ``Estimate`` with a 95 % interval. ``mean`` of
    what it gets makes that of a mean over patches, by patients if they are known;
    ``harness.statistics.intervals.linearized`` makes others. Nothing is computed anew by a model.

    Example:

        from harness import Metric, hookimpl

        def sure(given):
            if given.probabilities is None:
                return None
            return given.mean(given.probabilities.max(axis=1))

        @hookimpl
        def harness_metrics():
            return [
                Metric(
                    name="confidence",
                    title="Mean confidence",
                    heading="confidence %",
                    about="mean probability of the predicted class.",
                    value=sure,
                    percent=True,
                )
            ]
    """
    raise AssertionError("a hook specification is never called")


@hookspec
def harness_reports() -> Iterable[Report]:
    """Forms in which leaderboards are written.

    Return a ``Report`` for each. ``harness run`` and ``harness leaderboard`` write all that are not
    ``on_request``, or those named with ``--report``. A report that fails costs only itself.

    Example:

        from harness import Report, hookimpl

        def write(board, folder):
            path = folder / f"{board.dataset['name']}-best.txt"
            measured = [row for row in board.rows if row["result"] == "measured"]
            lines = [f"{row['rank']}. {row['model']} {row['accuracy']:.4f}" for row in measured]
            path.write_text("\\n".join(lines) + "\\n", encoding="utf-8")
            return [path]

        @hookimpl
        def harness_reports():
            return [Report(name="best", title="Names and accuracies", write=write)]
    """
    raise AssertionError("a hook specification is never called")


@hookspec
def harness_commands() -> Iterable[Command]:
    """Commands to add to ``harness``.

    Return a ``Command`` for each. ``harness NAME`` runs it with a ``Session`` of the store, the
    data and the plugins that the user named. Plugins are looked through for a command only when
    the first word is no command of the harness itself.

    Example:

        from harness import Command, hookimpl

        def add_arguments(parser):
            parser.add_argument("dataset", help="name of a dataset with stored results")

        def run(session, options):
            board = session.leaderboard(options.dataset)
            best = next((row for row in board.rows if row["result"] == "measured"), None)
            print(best["model"] if best else "nothing was measured")
            return 0 if best else 1

        @hookimpl
        def harness_commands():
            title = "Print the name of the most accurate model"
            return [Command(name="best", title=title, run=run, add_arguments=add_arguments)]
    """
    raise AssertionError("a hook specification is never called")


@hookspec
def harness_executors() -> Iterable[Executor]:
    """Ways to compute the jobs of a run, other than in processes of this machine.

    Return an ``Executor`` for each. ``harness run --executor NAME`` computes with it. It gets the
    session and groups of jobs, which have ``as_json``, and lets ``harness.jobs.run`` compute a
    group wherever a process imports ``harness`` and sees the folders of the store and the data.
    ``harness.jobs.problem`` tells what went wrong with a job. In the example a thread starts a
    process for each group.

    Example:

        import json
        import queue
        import subprocess
        import sys
        import threading
        from harness import Event, Executor, hookimpl

        CODE = '''
        import json, sys
        from harness import jobs
        print(json.dumps(jobs.run(*json.load(sys.stdin))))
        '''

        class Subprocesses:
            def __init__(self, session, options):
                self.session, self.free = session, options.jobs
                self.events = queue.SimpleQueue()

            def __enter__(self):
                return self

            def __exit__(self, *error):
                pass

            where = "a new process of this machine for each group"

            @property
            def has_room(self):
                return self.free > 0

            def estimate(self, job):
                return None

            def submit(self, group):
                self.free -= 1
                threading.Thread(target=self.compute, args=(group,), daemon=True).start()

            def compute(self, group):
                from harness import jobs

                try:
                    given = json.dumps([self.session.as_json(), [job.as_json() for job in group]])
                    command = [sys.executable, "-P", "-c", CODE]
                    printed = subprocess.check_output(command, input=given.encode())
                    answers = json.loads(printed.splitlines()[-1])
                    for job, answer in zip(group, answers, strict=True):
                        self.events.put(Event(group, job, jobs.problem(self.session, answer)))
                    self.events.put(Event(group))
                except Exception as error:
                    self.events.put(Event(group, error=error))

            def next(self, seconds):
                try:
                    event = self.events.get(timeout=seconds)
                except queue.Empty:
                    return None
                self.free += event.job is None
                return event

        @hookimpl
        def harness_executors():
            title = "A new process for each group of jobs"
            return [Executor(name="subprocesses", title=title, start=Subprocesses)]
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
