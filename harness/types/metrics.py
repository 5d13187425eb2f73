"""Metrics: figures of stored logits, each a column of the leaderboard."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from harness.statistics.estimates import Estimate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

    from harness.statistics.intervals import Sampling


@dataclass(frozen=True, kw_only=True)
class MetricInput:
    """What a metric looks at: what one trained model gave for the test patches.

    Arrays are read-only.
    """

    model: str
    classes: tuple[str, ...]
    labels: NDArray[np.int64]
    """Int64 (N,), indices into ``classes``."""
    logits: NDArray[np.float32]
    """Float32 (N, C); of a sum of models or views, the mean over its terms."""
    probabilities: NDArray[np.float64] | None
    """Float64 (N, C), the softmax of the logits; None where a model gives no probabilities, such as
    a support vector machine: of its logits only the order means something."""
    groups: NDArray[np.int64] | None = None
    """Number of the patient or slide of each patch, (N,), from 0 without gaps; None if not known.
    """
    design_effect: float = 1.0
    """By what factor variances are larger than those of independent patches, or groups."""

    @property
    def predicted(self) -> NDArray[np.int64]:
        """The predicted class of each patch, int64 (N,); ties go to the lower class."""
        found: NDArray[np.int64] = self.logits.argmax(axis=1)
        return found

    @property
    def sampling(self) -> Sampling:
        """The groups and the design effect, for the functions of ``harness.statistics``."""
        from harness.statistics.intervals import Sampling

        return Sampling(groups=self.groups, design_effect=self.design_effect)

    def mean(self, values: ArrayLike) -> Estimate:
        """The mean of values from 0 to 1, one for each patch, (N,), with its 95 % interval.

        By groups if they are known. Of whether patches are right it is the accuracy.
        """
        import numpy as np

        from harness.statistics.intervals import mean_of_shares

        shares = np.asarray(values, np.float64)
        return mean_of_shares("mean", shares, self.labels, self.sampling)


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A figure of each model as a column of the leaderboard."""

    name: str
    title: str
    value: Callable[[MetricInput], Estimate | None]
    """The figure, with the ends of its 95 % interval if there are any; None where it is not
    defined. Of a model with several seeds the table shows the mean over its trainings."""
    heading: str = ""
    """Of the column; the title if empty."""
    about: str = ""
    """What it means, in a sentence under the table."""
    higher_is_better: bool = True
    percent: bool = False
    """Whether the table shows it times 100."""
    columns: Literal["default", "figures", "calibration"] = "default"
    """The set of ``--columns`` that shows it, besides ``all`` and its own name."""
