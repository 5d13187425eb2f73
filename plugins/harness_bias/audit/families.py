"""What the probes of sharpness, noise and compression say of one family of faults."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from harness import Audit, Estimate, Finding, Table
from harness.text.numbers import percent, rounded
from harness_bias.audit.enough import Looked, Opinion, looked, reason, settled, told
from harness_bias.audit.fine import FEATURES, Changed, Difference, differences, judgeable
from harness_bias.audit.predictability import Score, cross_validated, sentence
from harness_bias.audit.verdict import grade
from harness_bias.measure.fine import CUTOFF, NOISE, NOISE_BRIGHT, NOISE_DARK

# Set on the half of the real patches of ``tuned_on.txt``. There, tissues that nothing was done to
# differ by up to 0.45 along any signature, and a third of the difference lies along it at most.
STRENGTH = 0.6
"""Smallest difference between classes that counts, in standard deviations within classes."""
LIKE, LIKE_LEFT = 0.5, 0.3
"""Shares of the difference that must lie along a signature for it to be called by its name: of all
of it, and of what structure does not explain. Tissues of phantoms, which differ more than real
ones, reach the former at times, but not the latter (0.1)."""
LIKE_CHANGED = 0.7
"""The same of the mean change of some patches of a class."""
LUCK = 0.005
"""Largest p that counts: 0.01 over two parts, twice that with what is looked at in addition."""
NOTHING = "not judged: that takes patches of 64 pixels a side with tissue in a fifth of their area"
LISTED = 50
SHOWN = {"sharpness": [CUTOFF], "noise": [NOISE, NOISE_DARK, NOISE_BRIGHT]}
"""Columns of the features whose class medians are shown, and their headings."""
HEADINGS = {
    "sharpness": ("cut-off: cycles per pixel",),
    "noise": ("quietest blocks: gray levels", "dark ones", "bright ones"),
}


@dataclass(frozen=True)
class Seen:
    """What was seen of a family in a dataset."""

    opinion: Opinion
    looked: Looked
    score: Score | None
    """How well the family's most like signature alone predicts the class, in the part where it is
    strongest."""
    reading: float | None
    """The largest difference between classes in either part, in standard deviations."""
    text: str
    """A clause for the summary."""
    estimates: tuple[Estimate, ...]
    tables: tuple[Table, ...]


@dataclass(frozen=True)
class Additional:
    """What a probe of a family looked at in addition to fine traces."""

    opinions: tuple[Opinion, ...]
    """One for each part that can be judged."""
    text: str
    """A clause for the summary; "" if nothing was seen."""
    scores: tuple[Score, ...]
    """How well what was seen predicts the class."""
    estimates: tuple[Estimate, ...]
    tables: tuple[Table, ...]


def look(audit: Audit, family: str) -> Seen:
    """Whether classes differ in a way that looks like a family of faults, in either part."""
    found = differences(audit)
    flagged = {name: one for name, one in found.items() if _differs(one, family)}
    changed = {name: list(_changed(one, family)) for name, one in found.items()}
    judged = np.concatenate([judgeable(part) for part in audit.parts.values()])
    seen = looked(audit, judged)
    is_there = bool(flagged) or any(changed.values())
    opinions = [told(is_there, one.least_p <= LUCK) for one in found.values()]
    opinion = settled(opinions, seen)
    strongest = max(
        flagged or found, key=lambda name: found[name].families[family].strength, default=None
    )
    score = None
    if strongest is not None:
        score = _score(audit, strongest, found[strongest], family)
    return Seen(
        opinion=opinion,
        looked=seen,
        score=score,
        reading=max((one.families[family].strength for one in found.values()), default=None),
        text=_text(audit, family, found, flagged, changed),
        estimates=(
            *([] if score is None else [score.estimate(f"{family} alone predicts the class")]),
            *_estimates(found, family),
            *seen.estimates(opinion.needed),
        ),
        tables=(_by_class(audit, found, family), _patches(audit, found, flagged, changed, family)),
    )


class Judged(Protocol):
    """How the classes of one part differ in what is looked at in addition."""

    @property
    def p(self) -> float:
        """How often labels dealt at random differ as much."""

    @property
    def least_p(self) -> float:
        """The smallest p that so many patients or slides can show."""

    @property
    def differs(self) -> bool:
        """Whether the difference counts."""


def in_addition(
    what: str,
    found: Mapping[str, Judged],
    text: str,
    scores: Iterable[Score | None],
    tables: tuple[Table, ...],
) -> Additional:
    """What comes of differences in something, by part; ``scores`` are of those that count."""
    return Additional(
        opinions=tuple(told(one.differs, one.least_p <= LUCK) for one in found.values()),
        text=text,
        scores=tuple(score for score in scores if score is not None),
        estimates=tuple(
            Estimate(name=f"permutation p of {what}, {name}", value=one.p)
            for name, one in found.items()
        ),
        tables=tables,
    )


def finding(audit: Audit, family: str, title: str, blind: str, additional: Additional) -> Finding:
    """What a probe says that asks of one family, and of something in addition."""
    seen = look(audit, family)
    opinion = settled([seen.opinion, *additional.opinions], seen.looked)
    scores = [*([seen.score] if seen.opinion.flag else []), *additional.scores]
    return Finding(
        summary=f"{title}: {_sentence(seen, additional, opinion)}",
        estimates=(*seen.estimates, *additional.estimates),
        tables=(*seen.tables, *additional.tables),
        reading=seen.reading,
        flag=opinion.flag,
        grade=grade(opinion.flag, scores),
        blind=blind,
    )


def _sentence(seen: Seen, additional: Additional, opinion: Opinion) -> str:
    """The clauses, and how well what they say predicts the class, or why nothing was judged."""
    why = reason(opinion, seen.looked)
    if not seen.text:
        why = why.removeprefix("; ") or NOTHING
        return f"fine detail {why}; {additional.text}" if additional.text else why
    said = [seen.text]
    if seen.score is not None and seen.opinion.flag:
        said.append(f"that alone {sentence(seen.score)}")
    if additional.text:
        said.append(additional.text)
        said += [f"that alone {sentence(score)}" for score in additional.scores]
    return "; ".join(said) + why


def _differs(found: Difference, family: str) -> bool:
    one = found.families[family]
    return bool(
        found.most_like == family
        and one.strength >= STRENGTH
        and one.share >= LIKE
        and one.left >= LIKE_LEFT
        and one.p <= LUCK
    )


def _changed(found: Difference, family: str) -> Iterator[Changed]:
    for one in found.changed:
        if one.family == family and one.struck.p <= LUCK and one.likeness >= LIKE_CHANGED:
            yield one


def _score(audit: Audit, name: str, found: Difference, family: str) -> Score | None:
    part = audit.parts[name]
    return cross_validated(
        found.along[family][:, None].astype(np.float32),
        part.labels[found.rows],
        np.arange(len(found.rows)),
        f"cross-validated on {name}",
        None if part.groups is None else part.groups[found.rows],
    )


def _text(
    audit: Audit,
    family: str,
    found: Mapping[str, Difference],
    flagged: Mapping[str, Difference],
    changed: Mapping[str, list[Changed]],
) -> str:
    said = []
    for name, one in flagged.items():
        like = one.families[family]
        said.append(
            f"classes of the {name} patches differ by {rounded(like.strength, 2)} SD, as by "
            f"{like.title} (p {rounded(like.p, 3)})"
        )
    for name, those in changed.items():
        said += [
            f"{percent(one.struck.share, 0)} % of the {name} patches of "
            f"{audit.classes[one.struck.label]} look changed by {one.title}, "
            f"{percent(one.struck.others, 0)} % of others"
            for one in those
        ]
    if not said and found:
        strength = max(one.families[family].strength for one in found.values())
        said.append(f"no difference between classes that looks like it ({rounded(strength, 2)} SD)")
    return "; ".join(said)


def _estimates(found: Mapping[str, Difference], family: str) -> Iterator[Estimate]:
    for name, one in found.items():
        like = one.families[family]
        yield Estimate(name=f"difference between classes in SD, {name}", value=like.strength)
        yield Estimate(name=f"share that looks like it, {name}", value=like.share)
        yield Estimate(name=f"permutation p, {name}", value=like.p)


def _by_class(audit: Audit, found: Mapping[str, Difference], family: str) -> Table:
    rows = []
    for name, one in found.items():
        like = one.families[family]
        for label, class_name in enumerate(audit.classes):
            if np.isfinite(like.doses[label]):
                own = audit.parts[name].labels[one.rows] == label
                shown = audit.parts[name].values[FEATURES][one.rows[own]][:, SHOWN.get(family, [])]
                rows.append(
                    (
                        *(class_name, name, int(own.sum()), like.title, like.doses[label]),
                        *np.median(shown, axis=0).tolist(),
                    )
                )
    return Table(
        name="doses",
        title="How often the most like fault is in each class, more or less than on average",
        headings=("class", "split", "patches", "most like", "times", *HEADINGS.get(family, ())),
        rows=tuple(sorted(rows, key=lambda row: (row[0], row[1]))),
    )


def _patches(
    audit: Audit,
    found: Mapping[str, Difference],
    flagged: Mapping[str, Difference],
    changed: Mapping[str, list[Changed]],
    family: str,
) -> Table:
    """The patches that show a difference: those that lie farthest along it, or were changed."""
    rows: list[tuple[str | float | None, ...]] = []
    for name, one in found.items():
        part = audit.parts[name]
        ids = part.split.ids
        chosen: NDArray[np.int64] = np.concatenate(
            [np.empty(0, np.int64), *(each.rows for each in changed[name])]
        )
        if name in flagged:
            along = one.along[family]
            strongest = np.argsort(-np.abs(along - np.median(along)))[:LISTED]
            chosen = np.concatenate([chosen, one.rows[strongest]])
        far = dict(zip(one.rows.tolist(), one.along[family].tolist(), strict=True))
        for index in dict.fromkeys(chosen.tolist()):
            rows.append((ids[index], audit.classes[part.labels[index]], name, far[index]))
    return Table(
        name="patches",
        title=f"Patches that show it ({min(len(rows), LISTED):,} of {len(rows):,})",
        headings=("patch", "class", "split", "SD along the fault"),
        rows=tuple(rows[:LISTED]),
    )
