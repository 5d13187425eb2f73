"""What datasets promise."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from harness.checks.bench import Bench, shaped
from harness.checks.outcome import Broken, Skipped
from harness.checks.watching import none_outside
from harness.data.splits import fold_pairs
from harness.errors import HarnessError
from harness.system.threads import one_thread_each
from harness.types.datasets import Dataset, Split, Splits

ENOUGH = 16 * 2**20
"""Bytes of decoded patches that show whether reading keeps them."""
LARGE = 256 * 2**20
"""Bytes of decoded patches that show whether listing a dataset decodes them."""


def listed(dataset: Dataset, bench: Bench) -> Splits:
    """The dataset's splits, loaded once."""

    def make() -> Splits:
        if lack := dataset.missing(bench.data):
            raise Skipped(lack)
        splits = dataset.load(bench.data)
        if not isinstance(splits, Splits):
            raise Broken(f"load returned {shaped(splits)}", "return harness.Splits")
        return splits

    return bench.once(("listed", dataset.name), make)


def parts(dataset: Dataset, bench: Bench) -> dict[str, Split]:
    """The splits that there are, by name."""
    splits = listed(dataset, bench)
    found = {"train": splits.train, "validation": splits.validation, "test": splits.test}
    return {name: split for name, split in found.items() if split is not None}


def some(split: Split) -> NDArray[np.int64]:
    """Indices of a few patches all over a split, not in order."""
    spread = np.unique(np.linspace(0, len(split.labels) - 1, 12).astype(np.int64))
    return np.random.default_rng(0).permutation(spread)


def missing(dataset: Dataset, bench: Bench) -> None:
    """``missing`` returns a line of text for an empty folder and for one that is not there."""
    empty = bench.new_folder("empty")
    for folder, called in ((empty, "an empty folder"), (empty / "absent", "an absent folder")):
        try:
            text = dataset.missing(folder)
        except Exception as error:
            raise Broken(
                f"missing raised {type(error).__name__} for {called}: {error}",
                "only look whether files exist, and return what is lacking",
            ) from error
        if not isinstance(text, str) or "\n" in text:
            raise Broken(f"missing returned {text!r} for {called}", 'return one line, or ""')


def loads(dataset: Dataset, bench: Bench) -> None:
    """``load`` returns Splits with test patches, and training patches or folds."""
    splits = listed(dataset, bench)
    for name, split in parts(dataset, bench).items():
        if not len(split.labels):
            raise Broken(f"{name} has no patches", "give None for a split that is not there")
    if splits.folds and splits.validation is not None:
        raise Broken("it has folds and a validation split", "leave one out")
    if splits.folds == 1 or splits.folds < 0:
        raise Broken(f"folds is {splits.folds}", "say 0 or at least 2")
    if splits.train is None and not splits.folds:
        raise Broken("it has neither training patches nor folds", "give one of them")


def labels(dataset: Dataset, bench: Bench) -> None:
    """Labels are int64, index ``classes``, and what is tested is also trained on."""
    for name, split in parts(dataset, bench).items():
        found = split.labels
        if not isinstance(found, np.ndarray) or found.dtype != np.int64 or found.ndim != 1:
            raise Broken(f"labels of {name} are {shaped(found)}", "give an int64 array (N,)")
        if found.min(initial=0) < 0 or found.max(initial=0) >= len(dataset.classes):
            raise Broken(
                f"labels of {name} run from {found.min()} to {found.max()} with "
                f"{len(dataset.classes)} classes",
                "count classes from 0",
            )
    splits = listed(dataset, bench)
    if splits.train is not None and not splits.folds:
        lacking = np.setdiff1d(splits.test.labels, splits.train.labels)
        if len(lacking):
            raise Broken(
                f"class {dataset.classes[lacking[0]]} has test patches and no training patch",
                "give each class one name, or leave it out",
            )


def ids(dataset: Dataset, bench: Bench) -> None:
    """Ids are text, one for each patch, and no two patches of the dataset share one."""
    seen: dict[str, str] = {}
    for name, split in parts(dataset, bench).items():
        if len(split.ids) != len(split.labels):
            raise Broken(
                f"{name} has {len(split.ids)} ids for {len(split.labels)} patches",
                "give each patch one",
            )
        for id_ in split.ids:
            if not isinstance(id_, str):
                raise Broken(f"{name} has the id {id_!r}", "make ids text")
            if id_ in seen:
                where = name if seen[id_] == name else f"{seen[id_]} and {name}"
                raise Broken(f"the id {id_!r} stands twice in {where}", "put the split's name in")
            seen[id_] = name


def reads(dataset: Dataset, bench: Bench) -> None:
    """``read`` returns uint8 RGB (n, H, W, 3), all patches of one size."""
    sizes = set()
    for name, split in parts(dataset, bench).items():
        for chosen in (some(split), some(split)[:1], some(split)[:1].tolist()):
            images = split.read(chosen)
            wrong = not isinstance(images, np.ndarray) or images.dtype != np.uint8
            if wrong or images.ndim != 4 or (len(images), images.shape[3]) != (len(chosen), 3):
                raise Broken(
                    f"reading {len(chosen)} patches of {name} gave {shaped(images)}",
                    f"return uint8 ({len(chosen)}, H, W, 3)",
                )
            sizes.add(images.shape[1:3])
    if len(sizes) > 1:
        raise Broken(f"patches are of the sizes {sorted(sizes)}", "bring them to one size")


def order(dataset: Dataset, bench: Bench) -> None:
    """``read`` returns patches in the order asked, and the same ones every time."""
    for name, split in parts(dataset, bench).items():
        chosen = some(split)
        images = split.read(chosen)
        alone = np.concatenate([split.read([int(index)]) for index in chosen])
        if not np.array_equal(images, alone):
            raise Broken(
                f"patches of {name} read together are not those read one by one",
                "keep the order of the indices, and draw nothing at random",
            )
        if not np.array_equal(images, split.read(chosen)):
            raise Broken(f"reading {name} twice gave different patches", "draw nothing at random")


def threads(dataset: Dataset, bench: Bench) -> None:
    """Several threads may read at once."""
    for name, split in parts(dataset, bench).items():
        chosen = some(split)
        expected = [split.read([int(index)]) for index in chosen]
        with one_thread_each() as limits, ThreadPoolExecutor(4, initializer=limits.here) as pool:
            found = list(pool.map(split.read, [[int(index)] for index in np.tile(chosen, 3)]))
        if not np.array_equal(np.concatenate(expected * 3), np.concatenate(found)):
            raise Broken(
                f"four threads read other patches of {name} than one",
                "open a file in each read, or lock it",
            )


def fingerprint(dataset: Dataset, bench: Bench) -> None:
    """A fingerprint is the same in a fresh process, and another for another split."""
    found = {name: split.fingerprint for name, split in parts(dataset, bench).items()}
    for name, text in found.items():
        if not isinstance(text, str) or not text:
            raise Broken(f"the fingerprint of {name} is {text!r}", "return a digest as text")
    if len(set(found.values())) < len(found):
        raise Broken("two splits have one fingerprint", "let ids and labels enter it")
    again = fresh(dataset, bench)[0]["fingerprints"]
    for name, text in found.items():
        if again[name] != text:
            raise Broken(
                f"the fingerprint of {name} is {text[:12]} here and {again[name][:12]} there",
                "use hashlib; hash() of text differs between processes, times and paths do too",
            )


def fresh(dataset: Dataset, bench: Bench) -> tuple[dict[str, Any], Path]:
    """What a fresh process says of the dataset, once, and its folder."""
    listed(dataset, bench)
    plugin, folder = bench.registry.datasets.plugin[dataset.name], bench.new_folder("dataset")
    allowed = [str(bench.data.absolute())]  # where it may unpack what it has, once
    if plugin.distribution.endswith(".toml"):
        allowed.append(str(Path(plugin.distribution).absolute().parent))
    task = {"kind": "dataset", "name": dataset.name, "allowed": allowed}
    return bench.once(
        ("fresh", dataset.name), lambda: (bench.in_fresh_process(task, folder, plugin), folder)
    )


def own_folder(dataset: Dataset, bench: Bench) -> None:
    """``load`` and ``read`` write nothing outside the data folder (of a TOML file: its own)."""
    answer, folder = fresh(dataset, bench)
    none_outside(answer["written"], folder, "unpack into the folder that load is given")


def lists_only(dataset: Dataset, bench: Bench) -> None:
    """``load`` lists the patches and decodes at most a few."""
    answer, _ = fresh(dataset, bench)
    there = parts(dataset, bench)
    n = sum(len(split.labels) for split in there.values())
    size = n * listed(dataset, bench).test.read([0]).nbytes
    opened, grown = answer["opened"], answer["grown"]
    fix = "list names and labels in load; decode in read"
    if n >= 200 and opened > 0.9 * n:
        raise Broken(f"load opened {opened} files for {n} patches", fix)
    if size > LARGE and grown > size / 2:
        raise Broken(f"load took {grown / 2**20:.0f} MiB for {size / 2**20:.0f} MiB decoded", fix)


def memory(dataset: Dataset, bench: Bench) -> None:
    """Patches that were read are not kept in memory."""
    answer, _ = fresh(dataset, bench)
    read, held = answer["read"], answer["held"]
    if read < ENOUGH:
        raise Skipped("it has too few patches, or reads them too slowly, to tell")
    if held > read / 2:
        fix = "keep no decoded patches; the system keeps files that are read often"
        said = f"of {read / 2**20:.0f} MiB that were read, {held / 2**20:.0f} MiB were held"
        raise Broken(said, fix)


def groups(dataset: Dataset, bench: Bench) -> None:
    """Groups, if it has any, name one for each patch of their part."""
    splits = listed(dataset, bench)
    known = {"test": (splits.test, splits.groups), "training": (splits.train, splits.train_groups)}
    if all(names is None for _, names in known.values()):
        raise Skipped("it has no groups")
    for part, (split, names) in known.items():
        n = 0 if split is None else len(split.labels)
        if names is not None and len(names) != n:
            raise Broken(
                f"{len(names)} groups for {n} {part} patches",
                f"name the group of each {part} patch",
            )


def folds(dataset: Dataset, bench: Bench) -> None:
    """Folds, if it has any, can be cut: each class and each group suffices for them."""
    splits = listed(dataset, bench)
    if not splits.folds:
        raise Skipped("it has no folds")
    try:
        pairs = fold_pairs(splits, dataset.classes)
    except HarnessError as error:
        raise Broken(str(error), "ask for fewer folds") from error
    if sum(len(predicted) for _, predicted in pairs) != len(splits.test.labels):
        raise Broken("the folds do not hold each test patch once", "check labels and groups")


def downloads(dataset: Dataset, bench: Bench) -> None:
    """Files to download have an address and an MD5 digest."""
    if not dataset.downloads:
        raise Skipped("it has no downloads")
    for file in dataset.downloads:
        if not file.url.startswith(("http://", "https://")):
            raise Broken(f"{file.name} has the address {file.url!r}", "give one of http or https")
        if len(file.md5) != 32 or set(file.md5) - set("0123456789abcdef"):
            raise Broken(f"{file.name} has the MD5 digest {file.md5!r}", "give 32 hex digits")


DATASET = (
    missing,
    loads,
    labels,
    ids,
    reads,
    order,
    threads,
    fingerprint,
    lists_only,
    own_folder,
    memory,
    groups,
    folds,
    downloads,
)
