"""What reports promise."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

from harness.analysis import leaderboard
from harness.analysis.leaderboard import Board
from harness.analysis.rows import failed_row
from harness.checks.bench import Bench
from harness.checks.outcome import Broken
from harness.jobs import run
from harness.jobs.session import versions
from harness.jobs.spec import SessionSpec
from harness.planning import planner
from harness.planning.plan import Request
from harness.reports.writing import checked
from harness.store.failures import FailedModel
from harness.store.store import Store
from harness.types.reports import Report


def board(bench: Bench) -> Board:
    """A board of the dataset: published results, and a model that failed."""

    def make() -> Board:
        store = Store(bench.new_folder("store"))
        request = Request(datasets=[bench.dataset], models=[], data=bench.data)
        (job,) = planner.build(bench.registry, store, request).jobs.values()
        session = SessionSpec(
            store=str(store.root),
            data=str(Path(bench.data).absolute()),
            plugins=versions(bench.registry),
            without=tuple(bench.without),
            refused=bench.registry.refused,
        )
        run(session.as_json(), [job.as_json()])
        store.set_current(job.key)
        published = [result for result, _ in bench.registry.published]
        made = leaderboard.build(store, bench.dataset.name, published)
        failed = FailedModel("failed", "A model that failed", "a plugin", "it raised", "")
        made.rows.append(failed_row(failed, store, made.truth))
        return made

    return bench.once("board", make)


def written(report: Report, bench: Bench) -> list[Path]:
    """The files of the board, written once."""
    return bench.once(
        ("report", report.name), lambda: checked(report, board(bench), bench.new_folder("report"))
    )


def files(report: Report, bench: Bench) -> None:
    """It writes files into the folder that it is given, and returns their paths."""
    try:
        found = written(report, bench)
    except (TypeError, ValueError) as error:
        if "write returned" not in str(error):
            raise
        raise Broken(str(error), "return the paths of the files in the folder") from error
    if not found:
        raise Broken("it wrote nothing", "write a file, named after the dataset")
    for path in found:
        if not path.name.startswith(bench.dataset.name):
            raise Broken(
                f"it wrote {path.name}",
                "begin the name with that of the dataset: boards of others are in the same folder",
            )


def rows_unchanged(report: Report, bench: Bench) -> None:
    """The rows of the board are left as they are."""
    made = board(bench)
    before = deepcopy(made.rows)
    report.write(made, bench.new_folder("again"))
    if made.rows != before:
        made.rows[:] = before
        raise Broken("write changed the rows of the board", "work on a copy")


REPORT = (files, rows_unchanged)
