"""``encoder:NAME+zero-shot``: patches compared with texts, for encoders of images and texts.

Radford et al., Learning transferable visual models from natural language supervision, ICML 2021:
the class whose text has the embedding with the largest cosine. No patch is fitted on. Imports
neither torch nor transformers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from harness import FitContext, HarnessError, InitialWeights, Model, Setting, Split, later
from harness.hooks.toml_files import read_toml
from harness_timm.encoders import FAMILY, TRANSFORMERS, Encoder, configuration, features
from harness_timm.hub import cached_or_downloaded
from harness_timm.recipe import EXECUTION, REQUIRES, SETTINGS, accelerator
from harness_timm.weights import find

if TYPE_CHECKING:
    from harness import Classifier

HEAD = "zero-shot"
FILE = Path(__file__).with_name("prompts.toml")
TOKENIZER = ("tokenizer_config.json", "vocab.json", "merges.txt")
"""Files of a tokenizer of CLIP, beside the weights or in their repository."""


@cache
def prompts() -> dict[str, list[str]]:
    """For each class its texts: every name in every template."""
    content = read_toml(FILE)
    return {
        label: [template.format(name) for template in content["templates"] for name in names]
        for label, names in content["classes"].items()
    }


def model(encoder: Encoder) -> Model:
    """The classifier that an encoder with texts is without any fit. Raises HarnessError for one
    without."""
    name = f"{FAMILY}:{encoder.name}+{HEAD}"
    if not encoder.texts:
        raise HarnessError(f"{name}: {encoder.title} knows no texts; end it with another head")
    return Model(
        name=name,
        title=f"{encoder.title}, zero-shot; texts of ours, no patch fitted on",
        fit=partial(_fit, encoder),
        load=_load,
        about=encoder.about,
        features=partial(features, encoder, encoder.pooling),
        initial_weights=partial(_weights, encoder),
        trained_on=encoder.trained_on or "unknown",
        selected_on="unknown",
        classes=tuple(prompts()),
        settings={"precision": SETTINGS["precision"]},
        execution={"weights": EXECUTION["weights"], "device": EXECUTION["device"]},
        device=lambda settings: accelerator(str(settings["device"])),
        requires=(*REQUIRES, "transformers"),
        install=TRANSFORMERS,
    )


def _weights(encoder: Encoder, settings: Mapping[str, Setting]) -> InitialWeights:
    """The weights of the encoder, if its tokenizer is there as well; the digest is also of the
    texts."""
    found = find(encoder.network, str(settings["weights"]))
    _tokenizer(encoder, found)
    text = json.dumps([found.digest, encoder.texts, prompts()])
    return replace(found, digest=hashlib.sha256(text.encode()).hexdigest())


def _fit(
    encoder: Encoder, train: Split, validation: Split | None, context: FitContext
) -> Classifier:
    weights = find(encoder.network, str(context.settings["weights"]))
    embedded = later("harness_timm.texts:embedded")
    folder = _tokenizer(encoder, weights)
    config = configuration(encoder, weights)
    values, scale = embedded(encoder, weights, config, folder, list(prompts().values()))
    order = [list(prompts()).index(name) for name in context.classes]
    return Texts(values[order], scale)


def _tokenizer(encoder: Encoder, weights: InitialWeights) -> Path:
    """The folder with the files of the tokenizer. Raises UnavailableError without them."""
    if weights.path is None:
        raise HarnessError(
            f"{FAMILY}:{encoder.name}+{HEAD}: random weights tell nothing without a fit; leave out "
            "weights=random"
        )
    if all(weights.path.with_name(name).is_file() for name in TOKENIZER):
        return weights.path.parent
    found = [cached_or_downloaded(encoder.network.repo, (name,)) for name in TOKENIZER]
    return found[0].parent


def _load(folder: Path, settings: Mapping[str, Setting]) -> Classifier:
    with np.load(folder / "texts.npz") as stored:
        return Texts(stored["values"], float(stored["scale"]))


class Texts:
    """Embeddings of classes, float32 (C, D) of unit length, and the scale of their cosines."""

    def __init__(self, values: NDArray[np.float32], scale: float) -> None:
        self.values = values
        self.scale = scale

    def logits(self, inputs: Any) -> NDArray[np.float32]:
        """Scaled cosines, float32 (B, C), of embeddings of patches (B, D)."""
        rows = np.asarray(inputs, np.float32)
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        return np.asarray(self.scale * (rows / np.maximum(lengths, 1e-12)) @ self.values.T)

    def save(self, folder: Path) -> None:
        """Write ``texts.npz``."""
        np.savez(folder / "texts.npz", values=self.values, scale=self.scale)
