"""What models derived from others promise, and families of models."""

from __future__ import annotations

from harness.checks.bench import Bench, shaped
from harness.checks.outcome import Broken
from harness.errors import HarnessError
from harness.planning.choose import lacks
from harness.types.models import DerivedModel, Model, ModelFamily


def members(model: DerivedModel, bench: Bench) -> None:
    """Every model that it sums is offered by some plugin, and it is no part of itself."""
    if not model.terms:
        raise Broken("it sums no model", "name (model, view) pairs in terms")
    lack = lacks(bench.registry, model.name)
    if "no plugin offers" in lack or "derived from itself" in lack:
        raise Broken(f"it {lack.partition(';')[0]}", "correct its terms")


def terms_once(model: DerivedModel, bench: Bench) -> None:
    """It sums each (model, view) once."""
    twice = sorted({term for term in model.terms if model.terms.count(term) > 1})
    if twice:
        raise Broken(f"{twice[0]} stands in terms more than once", "name each term once")


def example(family: ModelFamily, bench: Bench) -> None:
    """Its example is a name in the family, and makes a model of that very name."""
    if not family.example.startswith(f"{family.name}:"):
        raise Broken(
            f"the example {family.example!r} is not in the family",
            f"give a name that starts with {family.name}:",
        )
    model = family.make(family.example.partition(":")[2])
    if not isinstance(model, Model | DerivedModel) or model.name != family.example:
        named = getattr(model, "name", shaped(model))
        raise Broken(f"make gave {named!r} for {family.example!r}", "name the model in full")


def unknown_member(family: ModelFamily, bench: Bench) -> None:
    """A name that makes no sense is refused with a HarnessError."""
    name = "surely/no such-thing"
    try:
        made = family.make(name)
    except HarnessError:
        return
    except Exception as error:
        raise Broken(
            f"make({name!r}) raised {type(error).__name__}: {error}",
            "raise harness.HarnessError that says which names there are",
        ) from error
    raise Broken(
        f"make({name!r}) returned the model {made.name!r}", "raise harness.HarnessError for it"
    )


DERIVED = (members, terms_once)
FAMILY = (example, unknown_member)
