"""Classifiers on frozen features, by name, as encoders are judged with: ``ENCODER+linear``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from harness.hooks.adamw import adamw_model
from harness.hooks.estimators import estimator_model
from harness.hooks.neighbors import ROWS, neighbors_model
from harness.types.models import Features, Model, Setting

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HEADS: Mapping[str, str] = {
    "linear": "frozen; logistic regression",
    "linear-eva": "frozen; linear layer trained as eva does (AdamW)",
    "linear-uni": "frozen; logistic regression with the fixed penalty of UNI's notebook",
    "knn": "frozen; nearest neighbors",
    "knn20": "frozen; votes of 20 nearest neighbors, centered, as in UNI's notebook",
    "simpleshot": "frozen; nearest class mean (SimpleShot)",
}
"""What each does, for titles."""
ENDINGS = (*HEADS, "zero-shot")
"""What may follow the + in the name of a model on frozen features."""
STRENGTHS = (1e-4, 1e-3, 1e-2, 1e-1, 1.0, 10.0)
"""Inverse strengths of regularization to choose from."""


def head_model(
    head: str,
    *,
    name: str,
    title: str,
    features: Features | Callable[[Mapping[str, Setting]], Features],
    **more: Any,
) -> Model:
    """A Model of one of ``HEADS`` on features.

    "linear" is logistic regression on standardized features, its strength of regularization chosen
    on held-out patches. "knn" is ``neighbors_model``, the number of neighbors chosen on them too.
    "linear-eva" is ``adamw_model``, which keeps the best state on them. The others choose nothing:
    "linear-uni" is ``FixedPenalty``; "knn20" counts the votes of the 20
    nearest training patches by the cosine of centered features; "simpleshot" takes the class whose
    mean of centered features of unit length is nearest (Wang et al., arXiv:1911.04623). The last
    three are what mahmoodlab/UNI's ``eval_patch_features`` computes. ``more`` are further fields of
    Model, such as ``settings``.
    """
    about: dict[str, Any] = {"name": name, "title": title, "features": features, **more}
    if head == "linear-eva":
        return adamw_model(**about)
    if head == "knn":
        return neighbors_model(version=2, **about)
    if head == "knn20":
        return neighbors_model(neighbors=(20,), centered=True, weighted=False, **about)
    for name, kind in (("simpleshot", NearestMean), ("linear-uni", FixedPenalty)):
        if head == name:
            made, trusted = partial(_made, kind), (f"{__name__}.{kind.__name__}",)
            return estimator_model(estimator=made, trusted=trusted, **about)
    return estimator_model(estimator=_linear, choices={"C": STRENGTHS}, **about)


def _linear(settings: Mapping[str, Any], seed: int) -> Any:
    return standardized_logistic(settings["C"])


def standardized_logistic(strength: float = 1.0) -> Any:
    """Logistic regression on standardized features, not fitted.

    ``strength`` is the inverse of that of regularization, by default scikit-learn's.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    # L-BFGS: no learning rate to choose, the same result each time, and a few hundred passes over
    # 90,000 x 1,280 features take seconds. Newton's method would hold 11,520 x 11,520 numbers, and
    # stochastic solvers use one core and stop short of the optimum.
    return make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000))


def _made(kind: Callable[[], Any], settings: Mapping[str, Any], seed: int) -> Any:
    return kind()


class _WithoutSettings:
    """What ``estimator_model`` asks of a scikit-learn estimator that has nothing to set."""

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """There is nothing to set."""
        return {}

    def set_params(self, **given: Any) -> _WithoutSettings:
        """There is nothing to set."""
        return self


class NearestMean(_WithoutSettings):
    """The class whose mean is nearest: SimpleShot (Wang et al., arXiv:1911.04623).

    Features are centered by the mean of those for training and scaled to unit length, and then
    averaged by class. Scores are negative distances.
    """

    def fit(self, values: NDArray[np.float32], labels: NDArray[np.int64]) -> NearestMean:
        """Fit features (N, D) and labels (N,)."""
        import numpy as np

        self.classes_, counts = np.unique(labels, return_counts=True)
        self.mean_ = values.mean(axis=0, dtype=np.float64)
        sums = np.zeros((len(self.classes_), values.shape[1]))
        for start in range(0, len(values), ROWS):  # float64 of all may take gigabytes
            part = slice(start, start + ROWS)
            np.add.at(sums, np.searchsorted(self.classes_, labels[part]), self._unit(values[part]))
        self.means_ = sums / counts[:, None]
        return self

    def decision_function(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Scores (B, C) of features (B, D)."""
        import numpy as np

        apart = self._unit(values)[:, None] - self.means_
        return np.asarray(-np.linalg.norm(apart, axis=2))

    def predict(self, values: NDArray[np.float32]) -> NDArray[np.int64]:
        """Labels (B,) of features (B, D)."""
        import numpy as np

        return np.asarray(self.classes_[self.decision_function(values).argmax(axis=1)])

    def _unit(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        import numpy as np

        centered = np.asarray(values, np.float64) - self.mean_
        lengths = np.linalg.norm(centered, axis=1, keepdims=True)
        return np.asarray(centered / np.where(lengths > 0, lengths, 1))


class FixedPenalty(_WithoutSettings):
    """Multinomial logistic regression as in mahmoodlab/UNI's ``eval_patch_features``.

    It minimizes the mean cross-entropy plus 100 / (D * C) times half the norm, not squared, of the
    weights (C, D), by L-BFGS from zero. Features are taken as they are.
    """

    def fit(self, values: NDArray[np.float32], labels: NDArray[np.int64]) -> FixedPenalty:
        """Fit features (N, D) and labels (N,)."""
        import numpy as np
        from scipy.optimize import minimize
        from scipy.special import logsumexp

        self.classes_, targets = np.unique(labels, return_inverse=True)
        n, width, n_classes = len(values), values.shape[1], len(self.classes_)
        penalty = 100 / (width * n_classes)
        rows = np.arange(n)

        def loss(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
            weights, bias = flat[:-n_classes].reshape(n_classes, width), flat[-n_classes:]
            logits = values @ weights.T.astype(values.dtype) + bias
            total = logsumexp(logits, axis=1)
            errors = np.exp(logits - total[:, None])
            errors[rows, targets] -= 1
            norm = float(np.linalg.norm(weights))
            slope = (errors.T.astype(values.dtype) @ values).astype(np.float64) / n
            slope += penalty / 2 * weights / (norm or 1.0)
            mean = float((total - logits[rows, targets]).mean())
            return mean + penalty / 2 * norm, np.r_[slope.ravel(), errors.mean(axis=0)]

        start = np.zeros(n_classes * (width + 1))
        options = {"maxiter": 1000, "gtol": 1e-7, "ftol": 1e-12}
        found = minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
        self.coef_ = found[:-n_classes].reshape(n_classes, width)
        self.intercept_ = found[-n_classes:]
        return self

    def predict_proba(self, values: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities (B, C) of features (B, D)."""
        import numpy as np
        from scipy.special import softmax

        logits = np.asarray(values, np.float64) @ self.coef_.T + self.intercept_
        return np.asarray(softmax(logits, axis=1))
