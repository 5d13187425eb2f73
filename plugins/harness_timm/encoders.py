"""Encoders of pathology by name: ``encoder:NAME[POOLING]+HEAD``. Imports neither torch nor timm.

What is known of each is in ``encoders.toml``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path
from typing import Any

from harness import (
    HEADS,
    Features,
    HarnessError,
    InitialWeights,
    Model,
    Setting,
    UnavailableError,
    head_model,
    later,
)
from harness.hooks.toml_files import read_toml
from harness.text.names import suggest
from harness_timm.hub import cached_or_downloaded
from harness_timm.networks import Network
from harness_timm.recipe import EXECUTION, REQUIRES, SETTINGS, accelerator
from harness_timm.weights import find

FILE = Path(__file__).with_name("encoders.toml")
FAMILY = "encoder"
TOKENS = ("cls", "mean", "cls+mean")
"""Poolings of a network that gives tokens: the class token, the mean of the tokens of patches, or
one after the other. Registers are left out."""
ZERO_SHOT = "zero-shot"
"""In the place of a head: patches are compared with texts (``harness_timm.zero_shot``)."""
RANDOM = "random"
"""In the place of a pooling or after it: random weights, as a floor."""
TRANSFORMERS = "pip install 'histo-harness[torch,encoders]'"


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """What is known of an encoder."""

    name: str
    title: str
    loader: str
    """timm, transformers, or none where neither can load it without code of others."""
    hub: str
    """Repository on the Hugging Face hub."""
    size: int
    """Side, in pixels, that patches are resized to where they have another."""
    interpolation: str
    """How: bicubic or bilinear, with antialiasing."""
    mean: tuple[float, ...]
    std: tuple[float, ...]
    """Of red, green and blue in 0..1."""
    pooling: str
    """The default: one of ``TOKENS``, or pooled or projected, what the network itself gives."""
    width: int = 0
    """Length of a token, or of what a network without tokens gives; 0 where that is not known."""
    file: str = ""
    """Path of its weights, if they are not on the hub."""
    revision: str = ""
    """Commit of the repository; "" for the newest."""
    architecture: str = ""
    """Name in timm, or of a class of transformers."""
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What it is built with besides; classes by their full names."""
    config: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """For transformers: what its configuration on the hub says, as far as it is known."""
    parameters: float = 0.0
    """In millions, as published; 0 where no source says."""
    license: str = ""
    gated: bool = False
    """Whether its terms must be accepted on the hub first."""
    disagreement: str = ""
    """Where sources differ, and what the harness does."""
    uncertain: str = ""
    """What none of the sources settles."""
    texts: str = ""
    """For one of images and texts: the class of its text tower in transformers."""
    trained_on: str = ""
    """Of such a one: the images with texts that it was trained on."""
    how: str = ""
    """How one that is not loaded here can be had."""
    sources: Mapping[str, str] = field(default_factory=dict, hash=False)
    """By fact, where it is from."""

    @property
    def poolings(self) -> tuple[str, ...]:
        """Those that can be asked for, the default first."""
        others = [one for one in TOKENS if self.pooling in TOKENS and one != self.pooling]
        return (self.pooling, *others)

    @property
    def network(self) -> Network:
        """The same as ``harness_timm.networks`` has it."""
        return Network(
            name=self.name,
            architecture=self.architecture,
            arguments=json.dumps(dict(self.arguments)),
            input_size=self.size,
            mean=self.mean,
            std=self.std,
            repo=f"{self.hub}@{self.revision}" if self.revision else self.hub,
        )

    @property
    def about(self) -> tuple[str, ...]:
        """What there is to know of it, a sentence each."""
        where = f"{self.hub}, commit {self.revision}" if self.revision else self.hub
        said = [
            f"Weights: {where}" + ("; its terms must be accepted first." if self.gated else "."),
            f"License: {self.license}." if self.license else "License: not known here.",
        ]
        if self.disagreement:
            taken = f"By default the harness takes {self.pooling}."
            said.append(f"Sources differ: {self.disagreement}. {taken}")
        if self.uncertain:
            said.append(f"Not certain: {self.uncertain}.")
        return tuple(said)

    def length(self, pooling: str) -> int:
        """Of an embedding."""
        return self.width * (2 if pooling == "cls+mean" else 1)


ADDED: dict[str, Encoder] = {}
"""By name, those that TOML files of users describe, as the plugins were last loaded."""
DESCRIBES = ("loader", "architecture", "arguments", "size", "interpolation", "mean", "std")
"""Fields of an encoder that its embeddings depend on."""


def known() -> dict[str, Encoder]:
    """All encoders by name: those of ``encoders.toml``, and those of files of users."""
    return {**_own(), **ADDED}


@cache
def _own() -> dict[str, Encoder]:
    content = read_toml(FILE)
    found = {}
    for entry in content["encoder"]:
        said = {**content["defaults"], **entry}
        for name in ("mean", "std"):
            said[name] = tuple(said[name])
        found[said["name"]] = Encoder(**said)
    return found


def make(rest: str) -> Model:
    """The model ``encoder:<rest>``: NAME+HEAD, NAME[POOLING]+HEAD or NAME[POOLING,random]+HEAD."""
    encoder, pooling, random, head = _parsed(rest)
    if head == ZERO_SHOT:
        if random or pooling != encoder.pooling:
            raise HarnessError(f"{FAMILY}:{rest}: +{ZERO_SHOT} takes nothing in brackets")
        made: Model = later("harness_timm.zero_shot:model")(encoder)
        return made
    if encoder.loader == "none":
        raise UnavailableError(
            f"{FAMILY}:{encoder.name}: the harness does not load {encoder.title} ({encoder.how}); "
            'extract its embeddings there and bring them with kind = "embeddings"'
        )
    chosen = [pooling] if pooling != encoder.pooling else []
    chosen += [RANDOM] if random else []
    bracket = f"[{','.join(chosen)}]" if chosen else ""
    weights = "random weights, " if random else ""
    library = ("transformers",) if encoder.loader == "transformers" else ()
    return head_model(
        head,
        name=f"{FAMILY}:{encoder.name}{bracket}+{head}",
        title=f"{encoder.title} ({pooling}), {weights}{HEADS[head]}",
        about=encoder.about,
        features=partial(features, encoder, pooling),
        settings={"precision": SETTINGS["precision"]},
        execution={
            "weights": replace(
                EXECUTION["weights"], default=RANDOM if random else encoder.file or "hub"
            ),
            "device": EXECUTION["device"],
        },
        device=lambda settings: accelerator(str(settings["device"])),
        requires=(*REQUIRES, *library),
        install=TRANSFORMERS,
    )


def _parsed(rest: str) -> tuple[Encoder, str, bool, str]:
    """Encoder, pooling, whether weights are random, and head. Raises HarnessError."""
    parts = re.fullmatch(r"([^\[\]+]+)(?:\[([^\[\]]*)\])?(?:\+(.*))?", rest)
    if parts is None:
        raise HarnessError(f"{FAMILY}:{rest}: write {FAMILY}:NAME+HEAD or NAME[POOLING]+HEAD")
    name, chosen, head = parts[1], parts[2], parts[3] or ""
    if name not in known():
        raise HarnessError(f"{FAMILY}:{rest}: no encoder {name!r}; {suggest(name, known())}")
    encoder = known()[name]
    if head not in (*HEADS, ZERO_SHOT):
        heads = ", ".join(f"+{one}" for one in (*HEADS, *[ZERO_SHOT] * bool(encoder.texts)))
        raise HarnessError(f"{FAMILY}:{rest}: end it with one of {heads}")
    words = [] if chosen is None else [word.strip() for word in chosen.split(",")]
    random = RANDOM in words
    poolings = [word for word in words if word != RANDOM]
    if len(poolings) > 1 or not set(poolings) <= {*encoder.poolings} or (words and not words[0]):
        can = ", ".join(encoder.poolings)
        raise HarnessError(f"{FAMILY}:{rest}: in brackets stands one of {can}; or {RANDOM}")
    return encoder, (poolings or [encoder.pooling])[0], random, head


def features(encoder: Encoder, pooling: str, settings: Mapping[str, Setting]) -> Features:
    """Embeddings of patches. Raises UnavailableError when the weights cannot be had.

    The digest of the weights, which is part of every key, is also of how the network is built and
    fed: its description, and for transformers the configuration beside the weights.
    """
    precision, device = str(settings["precision"]), str(settings["device"])
    weights = find(encoder.network, str(settings["weights"]))
    config = configuration(encoder, weights)
    described = {name: getattr(encoder, name) for name in DESCRIBES}
    text = json.dumps([weights.digest, described, config], sort_keys=True)
    weights = replace(weights, digest=hashlib.sha256(text.encode()).hexdigest())
    named = f"{encoder.name}-{pooling}"
    if precision != "float32":
        named += f"-{precision}"
    return Features(
        name=named,
        extract=partial(
            later("harness_timm.encoding:extract"),
            encoder,
            pooling,
            weights,
            config,
            precision,
            device,
        ),
        weights=weights,
        device=partial(accelerator, device),
    )


def configuration(encoder: Encoder, weights: InitialWeights) -> str:
    """The configuration of a network of transformers, as JSON; "" for others.

    It is the one beside the weights, or in their repository; random weights take the one of the
    encoder's description. Raises HarnessError where it cannot be read, UnavailableError where it
    cannot be had.
    """
    if encoder.loader != "transformers":
        return ""
    if weights.path is None:
        return json.dumps(dict(encoder.config), sort_keys=True)
    path = weights.path.with_name("config.json")
    if not path.is_file():
        if not encoder.hub:
            raise HarnessError(
                f"{weights.path}: needs config.json beside it, which says how the network of "
                "transformers is built; put it there"
            )
        path = cached_or_downloaded(encoder.network.repo, ("config.json",))
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise HarnessError(f"{path}: cannot be read as JSON ({error}); get it again") from error
    if not isinstance(content, dict):
        raise HarnessError(f"{path}: is no configuration of transformers; get it again")
    return json.dumps(content, sort_keys=True)
