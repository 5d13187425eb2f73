"""What a store holds, a row for each run of a model, and how some of it is removed."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from harness.errors import HarnessError
from harness.store import stored
from harness.store.keys import CONDITIONS, SHARED
from harness.store.store import CACHES, KINDS, Store
from harness.store.stored import RECORD, DamagedError, Record
from harness.text.names import suggest
from harness.types.findings import Table

READ_WHOLE = (
    *("dataset", "prediction", "finding", "failed"),
    *("calibration", "check", "planted"),
)
"""Kinds whose files are compared with their digests; of fits and features, which may be of many
gigabytes, and of caches it is seen whether the files are there, with their sizes."""
LONGEST = 100
"""Characters of a state that are shown."""
DETAILS = ("predictions", "created", "size")
"""Columns of the table that are left out first where they do not fit."""


@dataclass(frozen=True)
class Item:
    """One stored result."""

    folder: Path
    kind: str
    dataset: str
    name: str
    record: Record | None
    """None where it cannot be read."""
    damage: DamagedError | None = field(repr=False)
    size: int
    """Bytes on the disk."""

    @property
    def digest(self) -> str:
        """Its name in the store."""
        return self.folder.name

    @property
    def about(self) -> str:
        """The dataset that it is of; of what datasets share, one that it was computed for."""
        return str((self.record or {}).get("dataset", "")) or self.dataset

    @property
    def n(self) -> int:
        """How many results it is: of a sweep, one for each condition."""
        return len(self.record["key"]["fields"].get(CONDITIONS, [""])) if self.record else 1

    @property
    def needs(self) -> frozenset[str]:
        """Digests of the results that it was computed from."""
        return frozenset((self.record or {}).get("needs", ()))


@dataclass(frozen=True)
class Row:
    """A run of a model with all its predictions, a model that failed, or something damaged."""

    head: Item
    """The logits for clean patches, where it has them."""
    items: tuple[Item, ...]
    state: str
    """"ok", "failed: WHY" or "damaged: FILE"."""
    size: int
    """Bytes of its predictions and fits."""


def read(store: Store) -> list[Item]:
    """All results of a store."""
    return [
        _item(folder, kind, dataset.name)
        for kind in KINDS
        for dataset in sorted((store.root / kind).glob("*"))
        for folder in store.folders(kind, dataset.name)
    ]


def _item(folder: Path, kind: str, dataset: str) -> Item:
    record, damage = None, None
    try:
        record = stored.read_record(folder)
        (stored.verify if kind in READ_WHOLE else stored.look)(folder)
    except DamagedError as error:
        damage = error
    sizes = [(folder / name).lstat().st_size for name in stored.names(folder)]
    if (folder / RECORD).is_file():
        sizes.append((folder / RECORD).stat().st_size)
    name = record["key"]["name"] if record else unquote(folder.parent.name)
    return Item(folder, kind, dataset, name, record, damage, sum(sizes))


def rows(items: Sequence[Item]) -> list[Row]:
    """A row for each run, failure and finding, and for what is damaged besides.

    Predictions of clean, perturbed and flipped patches by the same fits are one run.
    """
    by_digest = {item.digest: item for item in items}
    runs: dict[Any, list[Item]] = {}
    for item in items:
        if item.kind == "prediction":
            record = item.record
            of_run = (record["data"], *(f["digest"] for f in record["fits"])) if record else item
            runs.setdefault((item.dataset, item.name, of_run), []).append(item)
    found = [_row(members, by_digest) for members in runs.values()]
    shown = {item.digest for row in found for item in (*row.items, *_fits(row.items, by_digest))}
    for item in items:
        if item.kind == "failed" and item.record and not item.damage:
            found.append(Row(item, (item,), f"failed: {item.record['why']}", item.size))
        elif item.kind in ("finding", "check", "planted") and not item.damage:
            found.append(Row(item, (item,), "ok", item.size))
        elif item.damage and item.kind not in CACHES and item.digest not in shown:
            found.append(Row(item, (item,), _damaged(item), item.size))
    return sorted(found, key=lambda row: (row.head.about, row.head.name, row.head.digest))


def _row(members: Sequence[Item], by_digest: dict[str, Item]) -> Row:
    head = next((item for item in members if _is_clean(item)), members[0])
    items = (head, *(item for item in members if item is not head))
    everything = (*items, *_fits(items, by_digest))
    state = next((_damaged(item) for item in everything if item.damage), "ok")
    return Row(head, items, state, sum(item.size for item in everything))


def _is_clean(item: Item) -> bool:
    record = item.record or {}
    return (record.get("perturbation"), record.get("view")) == ("clean", "identity")


def _fits(items: Sequence[Item], by_digest: dict[str, Item]) -> list[Item]:
    """The fits that predictions need, those of members of sums aside."""
    needs = dict.fromkeys(digest for item in items for digest in sorted(item.needs))
    known = [by_digest[digest] for digest in needs if digest in by_digest]
    return [item for item in known if item.kind == "fit"]


def _damaged(item: Item) -> str:
    assert item.damage is not None
    return f"damaged: {item.damage.path}"


def choose(
    found: Sequence[Row],
    items: Sequence[Item],
    *,
    datasets: Sequence[str] = (),
    models: Sequence[str] = (),
    failed: bool = False,
    digests: Sequence[str] = (),
) -> list[Row]:
    """The rows that all filters let through; with ``digests``, only those that these are part of.

    A digest of what is part of no row, such as of features, makes a row of its own. Raises
    HarnessError when a filter names what is not there.
    """
    chosen = list(found)
    if digests:
        known = {item.digest: item for item in items}
        if unknown := [digest for digest in digests if digest not in known]:
            raise HarnessError(f"results: no result is {unknown[0]}; see harness results list")
        chosen = [r for r in found if {i.digest for i in r.items} & set(digests)]
        shown = {item.digest for row in chosen for item in row.items}
        others = [known[digest] for digest in digests if digest not in shown]
        chosen += [Row(item, (item,), "", item.size) for item in others]
    filters = {
        "dataset": (datasets, {row.head.about for row in found}),
        "model": (models, {row.head.name for row in found if _is_of_model(row)}),
    }
    for option, (names, there) in filters.items():
        for name in names:
            if name not in there:
                raise HarnessError(f"--{option} {name}: not in the store; {suggest(name, there)}")
    return [
        row
        for row in chosen
        if (not datasets or row.head.about in datasets)
        and (not models or (row.head.name in models and _is_of_model(row)))
        and (row.state.startswith("failed") or not failed)
    ]


def _is_of_model(row: Row) -> bool:
    return row.head.kind in ("prediction", "fit", "failed")


def to_remove(chosen: Sequence[Row], items: Sequence[Item]) -> list[Item]:
    """The results of rows, all that is computed from them, and what nothing else needs then.

    The latter are fits, features and lists of patches. None of these go where a result stays of
    which it cannot be told what it needs, as its record is damaged.
    """
    gone = {item.folder: item for row in chosen for item in row.items}

    def stays() -> Iterator[Item]:
        return (item for item in items if item.folder not in gone)

    grown = True
    while grown:
        digests = {item.digest for item in gone.values()}
        above = [item for item in stays() if item.needs & digests and item.kind == "prediction"]
        gone |= {item.folder: item for item in above}
        grown = bool(above)
    needed = _below(gone.values(), items)
    grown = True
    while grown:
        left = list(stays())
        used = frozenset().union(*(item.needs for item in left))
        unused = [
            item
            for item in left
            if item.digest in needed and item.digest not in used and not _may_be_used(item, left)
        ]
        gone |= {item.folder: item for item in unused}
        grown = bool(unused)
    removed = {item.digest for item in gone.values()}
    datasets = {item.dataset for item in gone.values()}
    for item in stays():  # caches
        of = item.record["key"]["fields"].get("prediction") if item.record else None
        if (item.kind == "figures" and of in removed) or (
            item.kind in ("picture", "folds") and item.dataset in datasets
        ):
            gone[item.folder] = item
    return list(gone.values())


def _below(start: Collection[Item], items: Sequence[Item]) -> set[str]:
    """Digests of what results need, and what that needs; those on no row of their own."""
    by_digest = {item.digest: item for item in items}
    found: set[str] = set()
    left = list(start)
    while left:
        for digest in left.pop().needs - found:
            if digest in by_digest:
                found.add(digest)
                left.append(by_digest[digest])
    kinds = ("fit", "features", "dataset")
    return {digest for digest in found if by_digest[digest].kind in kinds}


def _may_be_used(item: Item, left: Sequence[Item]) -> bool:
    """Whether what stays of its dataset may need a result without saying so."""
    others = [o for o in left if o.dataset == item.dataset and o.folder != item.folder]
    if item.kind == "dataset":  # the tables need it
        return any(other.kind not in (*CACHES, "dataset") for other in others)
    if item.dataset == SHARED:
        others = [other for other in left if other.folder != item.folder]
    return any(other.record is None and other.kind not in CACHES for other in others)


def remove(store: Store, gone: Sequence[Item]) -> None:
    """Remove results, and folders that are empty without them."""
    for item in gone:
        store.remove(item.folder)
        if item.kind == "dataset" and not any(item.folder.parent.iterdir()):
            (item.folder.parent.parent / "current").unlink(missing_ok=True)
        for above in (item.folder.parent, item.folder.parent.parent):
            if above.is_dir() and not any(above.iterdir()):
                above.rmdir()


def table(found: Sequence[Row]) -> Table:
    """Rows for a person."""
    return Table(
        name="results",
        title="",
        headings=(
            *("dataset", "model", "settings", "seed", "created", "predictions", "size"),
            *("digest", "state"),
        ),
        rows=tuple(
            (
                row.head.about,
                row.head.name + _kind(row.head),
                str((row.head.record or {}).get("deviations", "")),
                str((row.head.record or {}).get("seed", "")),
                str((row.head.record or {}).get("created", ""))[:16].replace("T", " "),
                str(sum(item.n for item in row.items if item.kind == "prediction") or ""),
                size(row.size),
                row.head.digest,
                row.state if len(row.state) <= LONGEST else f"{row.state[:LONGEST]} ...",
            )
            for row in found
        ),
    )


def _kind(item: Item) -> str:
    return "" if item.kind in ("prediction", "failed") else f" ({item.kind})"


def size(n: int) -> str:
    """Bytes for a person."""
    for unit, one in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if n >= one:
            return f"{n / one:.1f} {unit}"
    return f"{n} B"


def counted(gone: Sequence[Item]) -> str:
    """What results are, by kind, and how large: "3 predictions, 1 fit; 2.0 MB"."""
    names = {"features": "sets of features", "dataset": "lists of patches", "failed": "failures"}
    parts = []
    for kind in KINDS:
        n = sum(item.n for item in gone if item.kind == kind)
        if n and kind not in CACHES:
            many = names.get(kind, f"{kind}s")
            parts.append(f"{n} {many}")
    return f"{', '.join(parts)}; {size(sum(item.size for item in gone))}"
