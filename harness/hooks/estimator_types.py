"""Which types a stored scikit-learn estimator may hold: those on the lists here, and no others.

skops builds what a file names: it imports the type, and for functions, methods and the like calls
them when the estimator predicts. A doctored file could so run any code that is importable, also of
scikit-learn, numpy and scipy. So only estimators of scikit-learn, the data that they keep, and
numpy's elementwise functions are built, and what the plugin names as trusted.
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Collection, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from harness.errors import HarnessError

PROTOCOL = 2
"""Of the files that skops 0.11 and later write. Earlier ones say less of what they hold."""
BIT_GENERATORS = ("MT19937", "PCG64", "PCG64DXSM", "Philox", "SFC64")
NEVER = ("MethodNode", "OperatorFuncNode")
"""Parts that call what they name: a method of any object, a function made by ``operator``."""
DATA = ("JsonNode", "CachedNode")
"""Parts that hold no type: JSON, and what came before in the same file."""
_DISTANCES = (
    *("Euclidean", "SEuclidean", "Manhattan", "Chebyshev", "Minkowski", "Mahalanobis", "Hamming"),
    *("Canberra", "BrayCurtis", "Jaccard", "Dice", "RogersTanimoto", "RussellRao", "SokalMichener"),
    *("SokalSneath", "Haversine", "Kulsinski", "Matching"),
)
_SIZES = ("", "32", "64")
_KERNELS = (
    *("CompoundKernel", "ConstantKernel", "DotProduct", "ExpSineSquared", "Exponentiation"),
    *("Matern", "PairwiseKernel", "Product", "RBF", "RationalQuadratic", "Sum", "WhiteKernel"),
)
_LINKS = (
    *("HalfLogitLink", "IdentityLink", "Interval", "LogLink", "LogitLink", "MultinomialLogit"),
)
_LOSSES = (
    *("AbsoluteError", "ExponentialLoss", "HalfBinomialLoss", "HalfGammaLoss"),
    *("HalfMultinomialLoss", "HalfPoissonLoss", "HalfSquaredError", "HuberLoss", "PinballLoss"),
)
_SGD_LOSSES = (
    *("EpsilonInsensitive", "Hinge", "Huber", "Log", "ModifiedHuber", "SquaredEpsilonInsensitive"),
    *("SquaredHinge", "SquaredLoss"),
)
_CUTS = (
    *("GroupKFold", "GroupShuffleSplit", "KFold", "LeaveOneGroupOut", "LeaveOneOut"),
    *("RepeatedKFold", "RepeatedStratifiedKFold", "ShuffleSplit", "StratifiedGroupKFold"),
    *("StratifiedKFold", "StratifiedShuffleSplit"),
)
HELPERS = frozenset(
    (
        "scipy.interpolate._bsplines.BSpline",
        "sklearn.calibration._CalibratedClassifier",
        "sklearn.calibration._SigmoidCalibration",
        "sklearn.calibration._TemperatureScaling",
        "sklearn.ensemble._hist_gradient_boosting.binning._BinMapper",
        "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
        "sklearn.gaussian_process._gpc._BinaryGaussianProcessClassifierLaplace",
        "sklearn.metrics._scorer._PassthroughScorer",
        "sklearn.neural_network._stochastic_optimizers.AdamOptimizer",
        "sklearn.neural_network._stochastic_optimizers.SGDOptimizer",
        *(f"sklearn._loss.link.{name}" for name in _LINKS),
        *(f"sklearn._loss.loss.{name}" for name in _LOSSES),
        *(f"sklearn.gaussian_process.kernels.{name}" for name in _KERNELS),
        *(
            f"sklearn.metrics._dist_metrics.{n}Distance{size}"
            for n in _DISTANCES
            for size in _SIZES
        ),
        *(f"sklearn.model_selection._split.{name}" for name in _CUTS),
        *(f"sklearn.neighbors._ball_tree.BallTree{size}" for size in _SIZES),
        *(f"sklearn.neighbors._kd_tree.KDTree{size}" for size in _SIZES),
    )
)
"""What fitted estimators of scikit-learn keep in them and is no estimator, nor a function."""
CONTAINERS = {
    "BytesNode": ("builtins.bytes",),
    "BytearrayNode": ("builtins.bytearray",),
    "DTypeNode": ("numpy.dtype",),
    "DefaultDictNode": ("collections.defaultdict",),
    "DictNode": ("builtins.dict", "collections.OrderedDict", "sklearn.utils._bunch.Bunch"),
    "ListNode": ("builtins.list",),
    "LossNode": (
        *(f"sklearn._loss._loss.Cy{name}" for name in _LOSSES),
        *(f"sklearn._loss._loss.CyHalfTweedieLoss{kind}" for kind in ("", "Identity")),
        *(f"sklearn.linear_model._sgd_fast.{name}" for name in _SGD_LOSSES),
    ),
    "MaskedArrayNode": ("numpy.ma.MaskedArray", "numpy.ma.core.MaskedArray"),
    "RandomGeneratorNode": ("numpy.random._generator.Generator",),
    "RandomStateNode": ("numpy.random.mtrand.RandomState",),
    "SetNode": ("builtins.set",),
    "SliceNode": ("builtins.slice",),
    "SparseMatrixNode": tuple(
        f"scipy.sparse._{kind}.{kind}_{form}"
        for kind in ("bsr", "coo", "csc", "csr", "dia")
        for form in ("array", "matrix")
    ),
    "TreeNode": ("sklearn.tree._tree.Tree",),
    "TupleNode": ("builtins.tuple",),
}
"""For other parts of a file than objects, types and functions: which types they may be of."""
PLAIN = ("bool", "bytes", "dict", "float", "int", "list", "set", "str", "tuple")
"""Types that may be named as such, for instance as those of the keys of a dictionary."""
UFUNC_MODULES = (
    *("numpy", "numpy.core._multiarray_umath", "numpy._core._multiarray_umath"),
    *("scipy.special", "scipy.special._ufuncs"),
)


def check(path: Path, trusted: Collection[str] = ()) -> None:
    """Raise HarnessError if a file of skops holds anything that is not allowed, and run nothing.

    ``trusted`` has full names of further types and functions.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            schema = json.loads(archive.read("schema.json"))
        found = sorted({name for part in _parts(schema) if (name := _strange(part, trusted))})
        protocol = schema["protocol"]
    except (OSError, ValueError, KeyError, TypeError, AttributeError, zipfile.BadZipFile) as error:
        raise HarnessError(
            f"{path}: is not an estimator that the harness stored ({type(error).__name__}: {error})"
        ) from error
    if type(protocol) is not int or protocol < PROTOCOL:
        raise HarnessError(f"{path}: is of an earlier version of skops; remove it and run again")
    if found:
        raise HarnessError(
            f"{path}: holds {', '.join(found)}, which the plugin does not name as trusted; "
            "report it to the plugin's author"
        )


def _parts(schema: Any) -> Iterator[dict[str, Any]]:
    """All parts of a file, nested as they may be."""
    left = [schema]
    while left:
        item = left.pop()
        if isinstance(item, dict):
            if "__loader__" in item:
                yield item
            left += item.values()
        elif isinstance(item, list):
            left += item


def _strange(part: dict[str, Any], trusted: Collection[str]) -> str:
    """The type that a part of a file is of if it is not allowed, else ""."""
    loader, module, name = part["__loader__"], part["__module__"], part["__class__"]
    full = f"{module}.{name}"
    if loader in NEVER:
        return f"{full} ({loader})"
    if loader in DATA or full in trusted:
        return ""
    if loader == "ObjectNode":
        allowed = full in HELPERS or full in _estimators()
    elif loader == "TypeNode":
        allowed = (module == "builtins" and name in PLAIN) or full in _scalars()
    elif loader == "NdArrayNode":
        allowed = full == "numpy.ndarray" or full in _scalars()
    elif loader == "FunctionNode":
        allowed = module in UFUNC_MODULES and _is_ufunc(name)
    else:
        allowed = full in CONTAINERS.get(loader, ())
    if loader == "RandomGeneratorNode":
        state = part["content"]["bit_generator"]["content"]["bit_generator"]
        allowed = allowed and json.loads(state["content"]) in BIT_GENERATORS
    return "" if allowed else full


@cache
def _estimators() -> frozenset[str]:
    """Full names of the estimators of scikit-learn."""
    from sklearn.utils import all_estimators

    classes = (estimator for _, estimator in all_estimators())
    names = (f"{estimator.__module__}.{estimator.__name__}" for estimator in classes)
    return frozenset(name for name in names if name.startswith("sklearn."))


@cache
def _scalars() -> frozenset[str]:
    """Full names of numpy's types of numbers, but for that of Python objects."""
    import numpy as np

    kinds = set(np.sctypeDict.values()) - {np.object_}
    return frozenset(f"{kind.__module__}.{kind.__name__}" for kind in kinds)


def _is_ufunc(name: str) -> bool:
    """Whether numpy or scipy have an elementwise function of this name."""
    import numpy as np
    import scipy.special

    return any(isinstance(getattr(home, name, None), np.ufunc) for home in (np, scipy.special))
