"""The columns of the leaderboard: what they say, and the sets that a user chooses from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from harness.analysis.leaderboard import Board
from harness.analysis.rows import Row, fields, metric_field
from harness.errors import HarnessError
from harness.hooks.reserved import COLUMN_SETS
from harness.statistics.equivalence import MARGIN
from harness.statistics.estimates import Estimate
from harness.statistics.seeds import LARGEST_SPREAD
from harness.text.names import suggest
from harness.text.numbers import percent, points, rounded
from harness.types.metrics import Metric
from harness.types.probes import Column, ModelProbe

SETS = COLUMN_SETS
"""Named choices. ``--columns`` takes these and the names of single columns."""


@dataclass(frozen=True)
class Shown:
    """A column of the table for people."""

    name: str
    heading: str
    cell: Callable[[Row], str]
    sets: tuple[str, ...]
    about: str | Callable[[Sequence[Row], bool], str] = ""
    """A sentence under the table, or a function that makes it of the rows and of whether it is
    known which patches belong together."""

    def sentence(self, rows: Sequence[Row], grouped: bool) -> str:
        """What a reader of these rows needs to know of the column."""
        return self.about if isinstance(self.about, str) else self.about(rows, grouped)


def choose(
    names: Sequence[str],
    probes: Sequence[ModelProbe],
    reference: str = "reference",
    design_effect: float = 1.0,
    margin: float = MARGIN,
    metrics: Sequence[Metric] = (),
) -> list[Shown]:
    """The columns of these names and sets, in the order of the table.

    ``reference`` is the title of the published result that all are compared with, and ``margin``
    the difference in accuracy within which a model reproduces what was published. Raises
    HarnessError for a name that is neither.
    """
    known = every(probes, reference, design_effect, margin, metrics)
    if not names:
        raise HarnessError(f"--columns: name some; sets are {', '.join(SETS)}")
    wanted = {"rank", "result", "model"}
    for name in names:
        found = {c.name for c in known if name in ("all", c.name) or name in c.sets}
        if not found and name not in SETS:
            choices = [*SETS, *(column.name for column in known), *(one.name for one in metrics)]
            raise HarnessError(f"--columns: there is no {name!r}; {suggest(name, choices)}")
        wanted |= found
    return [column for column in known if column.name in wanted]


def of_board(board: Board, names: Sequence[str]) -> list[Shown]:
    """The columns of these names and sets for a board. Raises HarnessError."""
    reference = board.reference.title if board.reference else "reference"
    effect = board.sampling.design_effect
    return choose(names, board.probes, reference, effect, board.margin, board.metrics)


def every(
    probes: Sequence[ModelProbe],
    reference: str,
    design_effect: float,
    margin: float,
    metrics: Sequence[Metric] = (),
) -> list[Shown]:
    """All columns."""
    widened = "" if design_effect == 1 else f", design effect {design_effect:g}"
    return [
        Shown("rank", "rank", _rank, ("default",), _about_ranks),
        Shown("result", "result", lambda row: str(row["result"]), ("default",)),
        Shown("model", "model", lambda row: str(row["model"]), ("default",)),
        Shown(
            "accuracy",
            f"accuracy % (95 % interval{widened})",
            _percent("accuracy"),
            ("default", "figures"),
            "Intervals are 95 %.",
        ),
        Shown(
            "balanced_accuracy",
            "balanced %",
            _percent("balanced_accuracy"),
            ("default", "figures"),
            "“Balanced”: mean recall of the classes.",
        ),
        Shown("macro_f1", "macro F1 %", _percent("macro_f1"), ("figures",)),
        Shown("mcc", "MCC", _number("mcc"), ("figures",), "MCC: Matthews correlation."),
        Shown(
            "macro_auroc",
            "macro AUROC",
            _number("macro_auroc", 4),
            ("figures",),
            "AUROC: mean over classes, each against the rest.",
        ),
        *(
            Shown(
                metric_field(metric),
                metric.heading or metric.title,
                _percent(metric_field(metric)) if metric.percent else _number(metric_field(metric)),
                (metric.columns, metric.name),
                _about_metric(metric),
            )
            for metric in metrics
        ),
        Shown("accuracy_sd", "± seeds", _spread, ("default", "seeds"), SEEDS),
        *(
            shown
            for name, kind in (("ece", ""), ("ece_equal_mass", " (equal mass)"))
            for shown in (
                Shown(
                    f"{name}_debiased",
                    f"debiased ECE %{kind}",
                    _percent(f"{name}_debiased"),
                    ("calibration",),
                    CALIBRATION,
                ),
                Shown(name, f"plain ECE %{kind}", _plain_error(name), ("calibration",)),
            )
        ),
        Shown("brier", "Brier", _number("brier"), ("calibration",)),
        Shown("nll", "NLL", _number("nll"), ("calibration",)),
        Shown("published_accuracy", "published %", _published, ("default", "published")),
        Shown(
            "difference_to_published",
            "Δ published",
            _difference("published"),
            ("published",),
            "Differences (Δ) are in percentage points, with 95 % intervals for unpaired results.",
        ),
        Shown(
            "reproduced",
            "reproduced?",
            _reproduced,
            ("default", "published"),
            partial(_about_verdicts, 100 * margin),
        ),
        Shown(
            "difference_to_reference",
            f"Δ {reference}",
            _difference("reference"),
            ("default", "published"),
        ),
        *(
            Shown(
                fields(probe, column)[0],
                column.heading,
                _probed(probe, column),
                ("default", "probes"),
                f"“{column.heading}”: {column.about}",
            )
            for probe in probes
            for column in probe.columns
        ),
        Shown(
            "selected_on",
            "selected on",
            _text("selected_on"),
            ("default", "run"),
            _about_selection,
        ),
        Shown("initial_weights", "initial weights", _text("initial_weights"), ("default", "run")),
        Shown("seeds", "seed", _seeds, ("seeds", "run")),
        Shown("n_train", "trained on", _trained, ("run",), TRAINED),
        Shown("test_identity", "test data", _text("test_identity"), ("published", "run"), DATA),
        Shown("train_identity", "training data", _text("train_identity"), ("run",)),
        Shown("n_test", "tested on", lambda row: f"{row['n_test']:,}", ("run",)),
        Shown("fit_seconds", "fit s", _rounded("fit_seconds", 1), ("run",), FIT),
        Shown("patches_per_second", "predict patches/s", _rounded("patches_per_second"), ("run",)),
        Shown("device", "device", _text("device"), ("run",)),
        Shown("notes", "notes", _text("notes"), ("default", "run")),
    ]


def _about_metric(metric: Metric) -> str:
    better = "Higher" if metric.higher_is_better else "Lower"
    about = metric.about or f"{metric.title}."
    return f"“{metric.heading or metric.title}”: {about} {better} is better."


def _about_ranks(rows: Sequence[Row], grouped: bool) -> str:
    ranked = [row for row in rows if row["rank"] is not None]
    said = []
    if any(row["result"] == "published" for row in rows):
        said.append("Only measured rows are ranked; published rows were not run here.")
    if len(ranked) > 1:
        alone = [row for row in ranked if len(row["seeds"]) == 1]
        tests = []
        if len(alone) > 1:
            tests.append(
                "a test of the differences summed over groups"
                if grouped
                else "McNemar's test, mid-p"
            )
        if len(alone) < len(ranked):
            with_seeds = "a test that adds the spread over seeds"
            tests.append(f"where there are several seeds {with_seeds}" if tests else with_seeds)
        said.append(
            "Models that share ranks, such as 1–3, are not statistically distinguishable "
            f"(Holm-adjusted): pairs of models are compared on the same patches "
            f"({'; '.join(tests)}), and the chance of calling any pair different by mistake is 5 %."
        )
        if 0 < len(alone) < len(ranked):
            said.append(
                "How a row of one seed would vary is not known: beside one of several seeds it is "
                "distinguished only by a difference too large even for a standard deviation over "
                f"seeds of {100 * LARGEST_SPREAD:g} points."
            )
        if alone:
            said.append(
                "A row of one seed is about that training, not the method: trained again it may "
                "rank otherwise (`--seeds`)."
            )
    return " ".join(said)


SEEDS = (
    "“± seeds”: standard deviation, lowest and highest accuracy over trainings with other seeds, "
    "in points; the row then has the means."
)
CALIBRATION = (
    "ECE: expected calibration error in 15 bins of equal width, or with equally many patches. The "
    "plain one is what is published, and is large where patches are few: behind it is what it "
    "would be on average if the model were perfectly calibrated. The debiased one is what is left "
    "without that, 0 where nothing is; its interval is from simulated test sets. "
    "Brier: squared distance to the label, 0 to 2. NLL: negative log likelihood. Of a sum over "
    "models or flips, all are of the softmax of the mean logits. Empty where a model gives no "
    "probabilities, which its notes say."
)


def _about_verdicts(margin: float, rows: Sequence[Row], grouped: bool) -> str:
    verdicts = {row["reproduced"] for row in rows} - {None, "not comparable"}
    text = (
        "“Reproduced?”: “reproduced” if the difference to the published accuracy is within "
        f"±{margin:g} points (its 90 % interval is: two one-sided tests of 5 %; `--margin`), "
        "“higher” or “lower” if it is larger and its 95 % interval does not hold zero, "
        "“inconclusive” otherwise; not asked where data or protocol are known to differ."
    )
    if "inconclusive" in verdicts:
        text += (
            " What is said to decide would do so in 80 % of trials: test patches, measured and "
            "published on as many, or seeds of the measured model."
        )
    if any(_of_two(row) for row in rows):
        text += (
            " “Two trainings”: it is about the measured and the published one; how much trainings "
            "differ from seed to seed is not in it (`--seeds`)."
        )
    if verdicts and any(row["accuracy_sd"] is not None for row in rows):
        text += " With several seeds, the published training counts as one more of them."
    return text


def _of_two(row: Row) -> bool:
    """Whether a verdict is about two trainings, whose spread over seeds is not known."""
    judged = row["reproduced"] not in (None, "not comparable", "inconclusive")
    return judged and row["n_train"] is not None and len(row["seeds"]) == 1


def _about_selection(rows: Sequence[Row], grouped: bool) -> str:
    text = (
        "“Selected on” is the split that chose the checkpoint: none, a held-out part of the "
        "training patches, validation patches that come with the dataset, or test."
    )
    if any(row["result"] == "measured" and row["n_train"] is None for row in rows):
        text += " Of pretrained models it is what their authors say."
    return text


TRAINED = (
    "“Trained on” counts the patches that one fit is fitted on, over folds and seeds, and those "
    "that are held out besides to select on."
)
DATA = "“Test data” says how the test patches are known to be those of the published test set."
FIT = "“Fit s” adds up all fits of a row and the extraction of the features that they share."


def _rank(row: Row) -> str:
    if row["rank"] is None:
        return ""
    best, worst = row["rank_best"], row["rank_worst"]
    return str(best) if best == worst else f"{best}–{worst}"


def _percent(name: str) -> Callable[[Row], str]:
    return _scaled(name, 100, 2)


def _number(name: str, decimals: int = 3) -> Callable[[Row], str]:
    return _scaled(name, 1, decimals)


def _scaled(name: str, scale: float, decimals: int) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        if row[name] is None:
            return ""
        value, low, high = (
            "" if row[part] is None else rounded(scale * row[part], decimals, (0.0, scale))
            for part in (name, f"{name}_low", f"{name}_high")
        )
        return f"{value} ({low}–{high})" if low else value

    return cell


def _plain_error(name: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        if row[name] is None:
            return ""
        null = row[f"{name}_if_calibrated"]
        return percent(row[name]) + ("" if null is None else f" (if calibrated {percent(null)})")

    return cell


def _spread(row: Row) -> str:
    if row["accuracy_sd"] is None:
        return ""
    low, high = row["accuracy_min"], row["accuracy_max"]
    return f"{percent(row['accuracy_sd'])} ({percent(low)}–{percent(high)})"


def _published(row: Row) -> str:
    value = row["published_accuracy"]
    return "" if value is None or row["result"] == "published" else percent(value)


def _difference(to: str) -> Callable[[Row], str]:
    def cell(row: Row) -> str:
        name = f"difference_to_{to}"
        if row[name] is None:
            return ""
        low, high = row[f"{name}_low"], row[f"{name}_high"]
        return f"{points(row[name])} ({points(low)} to {points(high)})"

    return cell


def _reproduced(row: Row) -> str:
    if row["reproduced"] is None:
        return ""
    why, provided = row["reproduced_because"], row["reproduced_if"]
    text = str(row["reproduced"])
    if provided:
        text += f", if {provided}"
    if _of_two(row):
        text += "; two trainings"
    return f"{text}: {why}" if why else text


def _probed(probe: ModelProbe, column: Column) -> Callable[[Row], str]:
    value, low, high = fields(probe, column)

    def cell(row: Row) -> str:
        if row[value] is None:
            return ""
        return column.show(
            Estimate(name=column.estimate, value=row[value], low=row[low], high=row[high])
        )

    return cell


def _text(name: str) -> Callable[[Row], str]:
    return lambda row: row[name] or ""


def _seeds(row: Row) -> str:
    seeds = row["seeds"] or []
    if len(seeds) > 2 and seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"{seeds[0]}–{seeds[-1]}"
    return ", ".join(map(str, seeds))


def _trained(row: Row) -> str:
    if not row["n_train"]:
        return str(row["trained_on"])
    held = _range(row["n_held_out"], row["n_held_out_max"])
    return _range(row["n_train"], row["n_train_max"]) + (f" + {held} held out" if held else "")


def _range(least: int | None, most: int | None) -> str:
    if least is None or most is None:
        return ""
    return f"{least:,}" if least == most else f"{least:,}–{most:,}"


def _rounded(name: str, decimals: int = 0) -> Callable[[Row], str]:
    return lambda row: "" if row[name] is None else f"{row[name]:,.{decimals}f}"
