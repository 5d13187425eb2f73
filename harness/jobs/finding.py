"""What a probe finds in a dataset."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.data.handover import HandedSplit, frozen
from harness.data.splits import ahead
from harness.hooks.guard import alone
from harness.jobs.helpers import Shared
from harness.jobs.passes import Finish
from harness.jobs.spec import JobSpec
from harness.store.stored import Record, load_array
from harness.system.environment import provenance
from harness.system.progress import progress
from harness.system.threads import one_thread_each
from harness.types.datasets import Dataset, Split, Splits
from harness.types.probes import Audit, DatasetProbe, Measured

if TYPE_CHECKING:
    from harness.jobs.session import OpenSession


def compute(specs: Sequence[JobSpec], session: OpenSession, workspace: Path) -> list[Finish]:
    """What probes find in a dataset. Inputs are features, named "PART: NAME".

    One at a time is asked in this process, others meanwhile in helpers. Those with threads of their
    own come first and are asked here, as a helper has one core.
    """
    asking = Asking(specs, session)
    helpers = session.helpers if len(specs) > 1 else None
    shared = Shared(specs, helpers, asking, lambda answer: Answer(**answer))
    threaded = np.array([session.probe(spec.key.name).threaded for spec in specs])
    order = np.argsort(~threaded, kind="stable")

    def asked(batch: NDArray[np.int64]) -> Answer | BaseException:
        return (asking if threaded[batch[0]] else shared)(batch)

    threads = 1 + (helpers.n if helpers else 0)
    answers = ahead(asked, order, 1, threads=threads, most=len(specs))
    found: dict[int, Answer | BaseException] = {}

    def finish(number: int) -> Finish:
        def write(folder: Path) -> Record:
            while number not in found:
                batch, answer = next(answers)
                found[int(batch[0])] = answer
                if batch[0] == order[-1]:
                    answers.close()
            answer = found.pop(number)
            if isinstance(answer, BaseException):
                raise answer
            (folder / "finding.json").write_text(answer.finding, encoding="utf-8")
            about = {"probe": specs[number].key.name, "data": specs[number].data}
            return {"seconds": answer.seconds, **about, **provenance()}

        return write

    return [finish(number) for number in range(len(specs))]


def helping(specs: Sequence[JobSpec], session: OpenSession) -> Callable[[NDArray[np.int64]], Any]:
    """What asks the probe of a job in a helper, by its number."""
    asking = Asking(specs, session)

    def found(batch: NDArray[np.int64]) -> Any:
        answer = asking(batch)
        return None if isinstance(answer, BaseException) else asdict(answer)

    return found


@dataclass(frozen=True)
class Answer:
    """What a probe found, as JSON, and how long it took."""

    finding: str
    seconds: float


class Asking:
    """Asks the probes of some jobs about a dataset."""

    def __init__(self, specs: Sequence[JobSpec], session: OpenSession) -> None:
        self.specs = specs
        self.session = session
        self.lock = threading.Lock()

    def __call__(self, batch: NDArray[np.int64]) -> Answer | BaseException:
        """What the probe of a job, by its number, finds; or why it finds nothing."""
        (number,) = batch
        try:
            with self.lock, alone():
                return self.answer(self.specs[number])
        except BaseException as error:
            return error

    def answer(self, spec: JobSpec) -> Answer:
        """What the probe of a job finds."""
        probe = self.session.probe(spec.key.name, spec.key.fields["version"])
        instance = self.session.instance(spec)
        stored: dict[str, dict[str, Path]] = {"train": {}, "test": {}}
        for name, keys in spec.inputs.items():
            part, colon, features = name.partition(": ")
            if colon:
                stored[part][features] = self.session.store.folder(keys[0])
        started = time.monotonic()
        finding = ask(probe, instance.dataset, instance.splits, instance.pairs, stored)
        return Answer(finding, time.monotonic() - started)


def ask(
    probe: DatasetProbe,
    dataset: Dataset,
    splits: Splits,
    pairs: Sequence[tuple[Split, NDArray[np.int64]]],
    stored: Mapping[str, Mapping[str, Path]],
) -> str:
    """What a probe finds, as JSON. ``stored`` has folders of features by part and name."""

    def measured(
        part: str, split: Split | None, groups: NDArray[np.int64] | None
    ) -> Measured | None:
        if split is None:
            return None
        values = {
            name: frozen(load_array(path, "values.npy")) for name, path in stored[part].items()
        }
        return Measured(split=HandedSplit(split), values=MappingProxyType(values), groups=groups)

    of_train, of_test = group_numbers(splits)
    train = measured("train", splits.train, of_train)
    test = measured("test", splits.test, of_test)
    assert test is not None
    n_train = 0 if splits.train is None else len(splits.train.labels)
    all_test = np.arange(len(splits.test.labels))
    folds = []
    for _, predicted in pairs:
        rest = np.setdiff1d(all_test, predicted)
        fitted_on = np.concatenate([np.arange(n_train), n_train + rest])
        folds.append((frozen(fitted_on), frozen(n_train + predicted)))
    audit = Audit(
        classes=dataset.classes, train=train, test=test, folds=tuple(folds), progress=progress
    )
    # Probes deal labels a thousand times: small products, which two BLAS threads beside a busy
    # process take 30 times as long for. With OpenMP as well, whichever probe comes first and
    # wherever it is asked; scikit-learn, which most use, brings it.
    import_module("sklearn.ensemble")
    with one_thread_each() as limits:
        limits.complete()
        limits.here()
        finding = probe.measure(audit)
    return json.dumps(asdict(finding), allow_nan=False) + "\n"


def group_numbers(splits: Splits) -> tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]:
    """Numbers of the groups of the training and of the test patches, read-only, None if unknown.

    The same name has the same number in both.
    """
    names = sorted({*(splits.train_groups or ()), *(splits.groups or ())})
    number = {name: index for index, name in enumerate(names)}

    def of(groups: Sequence[str] | None) -> NDArray[np.int64] | None:
        return None if groups is None else frozen(np.array([number[g] for g in groups], np.int64))

    return of(splits.train_groups), of(splits.groups)
