"""Any scikit-learn estimator on any features as a Model, stored without pickle."""

from __future__ import annotations

import itertools
import json
import zipfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.errors import HarnessError
from harness.hooks import estimator_types
from harness.types.datasets import Split
from harness.types.models import Classifier, Features, FitContext, Model, Outputs, Setting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SMALLEST = 1e-6
"""Probabilities of an estimator below this count as this, so that logits stay finite. Those of
forests and neighbors are counts of few votes: a zero says "none of a hundred", not "impossible"."""
SMALL = 10**7
"""Numbers in a feature matrix up to which linear algebra in several threads costs more, in waiting
for each other, than it gains: logistic regression on 300 x 1,280 took 15 times as long with two."""
ASKED = 1000
"""Training patches, about, of which a decision function is compared with the prediction."""
TIES = 0.2
"""Share of them that may differ. The votes of the pairs in an SVM of nine classes tie, and are then
broken in two ways, for up to 0.17 of the patches; scores of another order differ for more."""


def estimator_model(
    *,
    name: str,
    title: str,
    estimator: Callable[[Mapping[str, Any], int], Any],
    features: Features | Callable[[Mapping[str, Setting]], Features],
    columns: slice | Sequence[int] = slice(None),
    choices: Mapping[str, Sequence[Any]] | None = None,
    trusted: Sequence[str] = (),
    **more: Any,
) -> Model:
    """A Model that fits a scikit-learn estimator on features.

    ``estimator(settings, seed)`` returns an estimator to fit. Its ``classes_`` are labels; logits
    are the logarithms of its ``predict_proba``, at least log(1e-6). Where it has none, its
    ``decision_function`` gives scores, which are no probabilities on any scale: the model then has
    no calibration figures (``Model.outputs``). ``columns`` are the features it gets.

    With ``choices``, such as ``{"C": (0.01, 1, 100)}``, an estimator is fitted for each value, or
    combination of values, which ``settings`` then holds; the one with the highest likelihood of the
    held-out patches is kept, scores being scaled by a temperature first. A choice that raises
    ValueError, such as more neighbors than there are patches, is passed over as long as another
    does not. A ``decision_function`` that does not score the classes in the order of ``classes_``,
    such as that of an SVM with a column for each pair of classes, raises HarnessError.

    A stored estimator is read only if it holds nothing but estimators of scikit-learn, their data,
    numpy's elementwise functions, and what ``trusted`` names: the full names, such as
    "my_package.MyScaler", of types and functions of your own or of other packages. ``more`` are
    further fields of Model, such as ``settings``.
    """
    return Model(
        name=name,
        title=title,
        fit=partial(_fit, estimator, columns, choices or {}),
        load=partial(_load, columns, tuple(trusted)),
        features=features,
        columns=columns,
        selects=bool(choices),
        **{"outputs": _outputs, **more},
    )


def _outputs(classifier: Any) -> Outputs:
    """What the logits of a fitted estimator are."""
    fitted: Fitted = classifier
    return "logits" if fitted.has_probabilities else "scores"


def _fit(
    estimator: Callable[[Mapping[str, Any], int], Any],
    columns: slice | Sequence[int],
    choices: Mapping[str, Sequence[Any]],
    train: Split,
    validation: Split | None,
    context: FitContext,
) -> Classifier:
    import numpy as np
    from threadpoolctl import threadpool_limits

    values = train.read(np.arange(len(train.labels)))[:, columns]
    threads = 1 if values.size <= SMALL else None
    best: Fitted | None = None
    least, kept = np.inf, ""
    wrong: ValueError | None = None
    grid = [
        dict(zip(choices, chosen, strict=True)) for chosen in itertools.product(*choices.values())
    ]
    if len(grid) > 1 and validation is None:
        raise HarnessError("choices need a validation split; report it to the plugin's author")
    for chosen in context.progress(grid, total=len(grid), label="choosing on held-out patches"):
        named = ", ".join(f"{key} = {value}" for key, value in chosen.items())
        fitted = estimator({**context.settings, **chosen}, context.seed)
        candidate = Fitted(fitted, columns, len(context.classes))
        try:
            with threadpool_limits(threads, user_api="blas"):
                fitted.fit(values, train.labels)
                candidate.check_scores(values[:: -(-len(values) // ASKED)])
            loss = 0.0 if validation is None else _loss(candidate, validation)
        except ValueError as error:
            wrong = error
            if len(grid) > 1:
                context.say(f"passed over {named}: {error}".splitlines()[0])
            continue
        if loss < least:
            best, least, kept = candidate, loss, named
    if best is None and wrong is not None:
        if type(wrong).__name__ == "InvalidParameterError":  # scikit-learn's, which is private
            raise HarnessError(f"{wrong} Change it with --set.") from wrong
        raise wrong
    if best is None:
        raise HarnessError("no choice of settings gave finite probabilities")
    if kept:
        context.say(f"chosen on held-out patches: {kept}")
    return best


def _loss(fitted: Fitted, split: Split) -> float:
    """Mean negative log likelihood of the labels of a split of features."""
    import numpy as np
    from scipy.special import log_softmax

    from harness.statistics.reliability import fit_temperature

    order = np.arange(len(split.labels))
    logits = fitted.logits(split.read(order))
    if not fitted.has_probabilities:
        logits /= fit_temperature(split.labels, logits)
    likelihood = log_softmax(logits.astype(np.float64), axis=1)
    return float(-likelihood[order, split.labels].mean())


def _load(
    columns: slice | Sequence[int],
    trusted: tuple[str, ...],
    folder: Path,
    settings: Mapping[str, Setting],
) -> Classifier:
    return Fitted.load(folder, columns, trusted)


class Fitted:
    """A fitted estimator as a Classifier; ``columns`` are the features it gets."""

    def __init__(self, estimator: Any, columns: slice | Sequence[int], n_classes: int) -> None:
        self.estimator = estimator
        self.columns = columns
        self.n_classes = n_classes

    @property
    def has_probabilities(self) -> bool:
        """Whether the estimator tells probabilities; otherwise its logits are scores."""
        return hasattr(self.estimator, "predict_proba")

    def logits(self, inputs: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logits, float32 (B, C), of features (B, D); a class never seen gets the smallest."""
        import numpy as np

        # Threads would add up the trees of a forest in varying order, and so vary the last digit.
        parallel = [key for key in self.estimator.get_params() if key.split("__")[-1] == "n_jobs"]
        self.estimator.set_params(**dict.fromkeys(parallel, 1))
        values = inputs[:, self.columns]
        if self.has_probabilities:
            seen = np.log(np.clip(self.estimator.predict_proba(values), SMALLEST, 1))
            unseen = np.full(len(values), np.log(SMALLEST))
        else:
            seen = self._scores(values)
            unseen = seen.min(axis=1) - np.ptp(seen, axis=1)  # lower than all, on their own scale
        logits = np.repeat(unseen[:, None].astype(np.float32), self.n_classes, axis=1)
        logits[:, self.estimator.classes_] = seen
        return logits

    def _scores(self, values: NDArray[np.float32]) -> NDArray[np.floating[Any]]:
        """What ``decision_function`` gives, with a column for each of two classes as well."""
        import numpy as np

        if not hasattr(self.estimator, "decision_function"):
            kind = type(self.estimator).__name__
            raise HarnessError(
                f"{kind} has neither predict_proba nor decision_function, so it says nothing of "
                "how sure it is of each class; take an estimator that has one of them, or wrap it "
                "in sklearn.calibration.CalibratedClassifierCV"
            )
        scores = np.asarray(self.estimator.decision_function(values))
        if scores.ndim == 1:  # of two classes, the margin of the second
            scores = np.stack([-scores / 2, scores / 2], axis=1)
        return scores

    def check_scores(self, values: NDArray[np.float32]) -> None:
        """Raise HarnessError unless the highest score is that of the class that is predicted.

        ``values`` are what the estimator gets, (B, D). Probabilities are not looked at.
        """
        import numpy as np

        if self.has_probabilities:
            return
        scores, known = self._scores(values), np.asarray(self.estimator.classes_)
        kind = type(self.estimator).__name__
        fix = (
            "let it score each class in the order of classes_; for an SVC say "
            "decision_function_shape='ovr'"
        )
        if scores.shape[1] != len(known):
            raise HarnessError(
                f"decision_function of {kind} has {scores.shape[1]} columns for {len(known)} "
                f"classes; {fix}"
            )
        wrong = int((known[scores.argmax(axis=1)] != self.estimator.predict(values)).sum())
        if wrong > max(2, TIES * len(values)):
            raise HarnessError(
                f"decision_function of {kind} is highest for another class than predict names for "
                f"{wrong:,} of {len(values):,} training patches; {fix}"
            )

    def save(self, folder: Path) -> None:
        """Write ``estimator.skops`` and ``estimator.json``."""
        import skops.io

        path = folder / "estimator.skops"
        skops.io.dump(self.estimator, path, compression=zipfile.ZIP_DEFLATED, compresslevel=3)
        (folder / "estimator.json").write_text(
            json.dumps({"n_classes": self.n_classes}) + "\n", encoding="utf-8"
        )

    @classmethod
    def load(
        cls, folder: Path, columns: slice | Sequence[int], trusted: Sequence[str] = ()
    ) -> Fitted:
        """Read what ``save`` wrote. Raises HarnessError for types that are not ``trusted``."""
        import skops.io

        content = json.loads((folder / "estimator.json").read_text(encoding="utf-8"))
        path = folder / "estimator.skops"
        estimator_types.check(path, trusted)
        estimator = skops.io.load(path, trusted=skops.io.get_untrusted_types(file=path))
        return cls(estimator, columns, content["n_classes"])
