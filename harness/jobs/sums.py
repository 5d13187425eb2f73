"""Sums of stored logits: of several models, or of views of one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness.errors import HarnessError
from harness.jobs.passes import LOGITS, Logits
from harness.jobs.predict import describe
from harness.jobs.spec import JobSpec
from harness.store.stored import Record, load_array
from harness.types.models import DerivedModel

if TYPE_CHECKING:
    from harness.jobs.session import OpenSession

SUM_VERSION = 2
"""Of sums of logits, in their keys: raised when their records say more."""


def compute(specs: Sequence[JobSpec], session: OpenSession, workspace: Path) -> list[Logits]:
    """Sums of the logits of their members."""
    return [_finish(spec, session) for spec in specs]


def _finish(spec: JobSpec, session: OpenSession) -> Logits:
    members = spec.inputs["members"]

    def records() -> list[Record]:
        return [session.store.record(member) for member in members]

    def values() -> NDArray[np.float32]:
        check_scale(records())
        places = [session.store.place(member) for member in members]
        total = np.sum([load_array(place, LOGITS) for place in places], axis=0)
        return np.asarray(total, np.float32)

    def about(total: NDArray[np.float32]) -> Record:
        model, joined = session.registry.models.find(spec.key.name), records()
        assert isinstance(model, DerivedModel)
        return {
            **derive(joined, len(total)),
            **describe(spec, model, session.condition(spec), session),
            "settings": _settings(joined),
            "derived_from": [list(term) for term in model.terms],
        }

    return Logits(values, about)


def _settings(members: Sequence[Record]) -> dict[str, Any]:
    """Settings of the members of a sum, as "MODEL.KEY"."""
    found: dict[str, Any] = {}
    for member in members:
        prefix = "" if member["derived"] else f"{member['model']}."
        found |= {f"{prefix}{key}": value for key, value in member["settings"].items()}
    return found


def check_scale(records: Sequence[Record]) -> None:
    """Raise HarnessError for a sum of scores and logits, which have no common scale."""
    kinds = {record.get("outputs") == "scores": record["model"] for record in records}
    if len(kinds) > 1:
        raise HarnessError(
            f"the outputs of {kinds[True]} are scores and those of {kinds[False]} are logits; they "
            "have no common scale, so their sum means nothing; sum models of one kind"
        )


def derive(records: Sequence[Record], n: int) -> Record:
    """The record of the sum of stored logits of ``n`` patches: it joins those of its members, and
    counts the terms."""
    fits, features = (
        list({part["digest"]: part for record in records for part in record[kind]}.values())
        for kind in ("fits", "features")
    )
    return {
        "seconds": sum(record["seconds"] for record in records),
        "n": n,
        "fits": fits,
        "features": features,
        "members": [record["digest"] for record in records],
        "terms": sum(record.get("terms", 1) for record in records),
        "outputs": "scores" if records[0].get("outputs") == "scores" else "logits",
        "initial_weights_fallback": any(r.get("initial_weights_fallback") for r in records),
        "classes_declared": all(r.get("classes_declared", True) for r in records),
        **{
            field: _join(records, field)
            for field in (
                *("device", "initial_weights", "initial_weights_digest"),
                *("selected_on", "deviations", "version", "trained_on", "outputs_doubt"),
            )
        },
    }


def _join(records: Sequence[Record], field: str) -> str:
    known = (record.get(field) for record in records)
    return "; ".join(dict.fromkeys(str(value) for value in known if value))
