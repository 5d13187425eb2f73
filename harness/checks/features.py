"""What features promise, whoever asks for them: a model, a probe or a perturbation."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.checks.bench import Bench, compare, shaped, unchanged
from harness.checks.outcome import Broken, Skipped
from harness.checks.watching import none_outside
from harness.data.handover import kept
from harness.system.threads import one_thread_each
from harness.types.models import Features


@dataclass(frozen=True)
class Used:
    """Features, and the contribution that they are found through."""

    features: Features
    offer: str
    """The registry's offers that the owner is among, such as "models"."""
    owner: str

    @property
    def name(self) -> str:
        """The features' name."""
        return self.features.name


def extracted(used: Used, bench: Bench) -> NDArray[np.float32]:
    """Features of the few test patches, once."""

    def make() -> NDArray[np.float32]:
        from harness.planning.choose import _importable

        if absent := [name for name in used.features.requires if not _importable(name)]:
            raise Skipped(f"needs {', '.join(absent)}")
        return used.features.extract(bench.test.values.copy())

    return bench.once(("features", used.name), make)


def rows(used: Used, bench: Bench) -> None:
    """A patch gives one row of finite floats."""
    values = extracted(used, bench)
    n = len(bench.test.labels)
    floats = isinstance(values, np.ndarray) and np.issubdtype(values.dtype, np.floating)
    if not floats or values.ndim != 2 or len(values) != n or not values.shape[1]:
        raise Broken(f"{n} patches gave {shaped(values)}", f"return float32 ({n}, D)")
    if not np.isfinite(values).all():
        raise Broken(
            f"{(~np.isfinite(values)).sum()} of {values.size} values are NaN or infinite",
            "bound what goes into logarithms and divisions",
        )


def any_batch(used: Used, bench: Bench) -> None:
    """The features of a patch do not depend on the other patches of its batch."""
    expected, images = extracted(used, bench), bench.test.values
    for size in (1, 4):
        parts = [
            used.features.extract(images[start : start + size].copy())
            for start in range(0, len(images), size)
        ]
        compare(
            expected, np.concatenate(parts), f"features in batches of {size}", "use the patch alone"
        )


def threads(used: Used, bench: Bench) -> None:
    """Several threads may extract at once."""
    expected, images = extracted(used, bench), bench.test.values
    parts = np.array_split(np.arange(len(images)), min(8, len(images)))
    with one_thread_each() as limits, ThreadPoolExecutor(4, initializer=limits.here) as pool:
        for _ in range(2):
            found = pool.map(lambda part: used.features.extract(images[part]), parts)
            fix = "share nothing that changes between calls, or lock it"
            compare(expected, np.concatenate(list(found)), "features in four threads", fix)


def inputs_unchanged(used: Used, bench: Bench) -> None:
    """``extract`` leaves the patches as they are."""
    extracted(used, bench)
    given = kept(bench.test.values)
    with unchanged("the array of patches was changed in place", given):
        used.features.extract(given)


def elsewhere(used: Used, bench: Bench) -> tuple[dict[str, Any], Path]:
    """What a fresh process that extracts them answers, once, and its folder."""
    extracted(used, bench)

    def make() -> tuple[dict[str, Any], Path]:
        folder = bench.new_folder("features")
        bench.test.save(folder / "test.npz")
        task = {
            "kind": "features",
            "offer": used.offer,
            "owner": used.owner,
            "name": used.name,
            "given": bench.given.get(used.owner, {}),
        }
        plugin = bench.registry.offers[used.offer].plugin[used.owner]
        return bench.in_fresh_process(task, folder, plugin), folder

    return bench.once(("elsewhere", used.owner, used.name), make)


def fresh_process(used: Used, bench: Bench) -> None:
    """A fresh process extracts the same numbers."""
    _, folder = elsewhere(used, bench)
    fix = "seed every generator with a constant; hash() of text differs between processes"
    found = np.load(folder / "results" / "values.npy")
    compare(extracted(used, bench), found, "features in a fresh process", fix)


def own_folder(used: Used, bench: Bench) -> None:
    """``extract`` writes nothing but caches and temporary files."""
    answer, folder = elsewhere(used, bench)
    none_outside(answer["written"], folder, "return the features, and write nothing")


FEATURES = (rows, any_batch, threads, inputs_unchanged, fresh_process, own_folder)
