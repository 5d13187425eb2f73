"""What ``harness fetch`` does: get the initial weights of models before a run needs them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Mapping, Sequence

from harness.errors import UnavailableError
from harness.hooks import settings
from harness.hooks.guard import contained
from harness.hooks.limit import limited
from harness.hooks.registry import Registry
from harness.jobs.fit import weights_of
from harness.planning import choose
from harness.types.models import InitialWeights, Model, Setting


def fetch(
    registry: Registry, models: Sequence[str], assigned: Sequence[str], minutes: float | None = None
) -> tuple[dict[str, InitialWeights | None], dict[str, Exception]]:
    """Get the weights of the named models and their members, or of all that can run here.

    ``assigned`` are settings as ``KEY=VALUE``, and each model may take so many ``minutes``. Returns
    by name of a model its weights, None where it starts from none, and what kept others from being
    had. Raises HarnessError for a model that is not known or lacks something.
    """
    fitted = choose.fitted(registry, choose.models(registry, models))
    given = settings.parse(assigned, fitted)
    found: dict[str, InitialWeights | None] = {}
    problems: dict[str, Exception] = {}
    for model in fitted:
        try:
            resolved = settings.resolve(model, False, given[model.name])
            with limited(minutes), contained(), contextlib.redirect_stdout(sys.stderr):
                found[model.name] = _weights(model, resolved)
        except Exception as error:
            problems[model.name] = error
    return found, problems


def _weights(model: Model, resolved: Mapping[str, Setting]) -> InitialWeights | None:
    used = model.features_with(resolved)
    weights = weights_of(model, resolved, used)
    if weights and weights.warning:  # a run would go on with others
        raise UnavailableError(weights.warning)
    return weights
