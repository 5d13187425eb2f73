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
    Option,
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
MULTISCALE = "multiscale"
"""Pooling of MUSK: the class token of a patch, and the mean of those of its quarters, enlarged."""
RANDOM = "random"
"""In the place of a pooling or after it: random weights, as a floor."""
WEIGHTS = "hub, random, or the path of a file of weights or of a folder with one"
TRANSFORMERS = "pip install 'histo-harness[torch,encoders]'"


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """What is known of an encoder."""

    name: str
    title: str
    loader: str
    """timm or transformers; remote-code where transformers loads it by code of its repository,
    package where a package of its own does; none for what the harness does not load."""
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
    """The default: one of ``TOKENS``; pooler, pooled or projected, what the network itself gives;
    or ``MULTISCALE``."""
    width: int = 0
    """Length of a token, or of what a network without tokens gives; 0 where that is not known."""
    file: str = ""
    """Path of its weights, if they are not on the hub."""
    files: tuple[str, ...] = ()
    """Names of its weights in the repository, the first that is there; () for the usual ones."""
    more: tuple[str, ...] = ()
    """Other files of the repository that its code asks for."""
    revision: str = ""
    """Commit of the repository; "" for the newest, or for one that the user must name."""
    architecture: str = ""
    """Name in timm, or of a class of transformers."""
    arguments: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """What it is built with besides; classes by their full names."""
    config: Mapping[str, Any] = field(default_factory=dict, hash=False)
    """For transformers: what its configuration on the hub says, as far as it is known."""
    package: str = ""
    """For the loader package: the module to import."""
    install: str = ""
    """How that package is had."""
    part: str = ""
    """For remote-code: a method of the model that returns the encoder, or a tuple that begins with
    it; "" for the model itself."""
    call: str = ""
    """For remote-code: the method that makes embeddings of patches, or "forward"; "" for the
    pooler_output of the model's answer."""
    registers: int = 0
    """For remote-code: tokens between the class token and those of patches."""
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
    """Where one that is not loaded here is found."""
    sources: Mapping[str, str] = field(default_factory=dict, hash=False)
    """By fact, where it is from."""

    @property
    def poolings(self) -> tuple[str, ...]:
        """Those that can be asked for, the default first."""
        tokens = TOKENS if self.pooling in (*TOKENS, "pooler") else ()
        also = ("cls",) if self.pooling == MULTISCALE else tokens
        return (self.pooling, *(one for one in also if one != self.pooling))

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
            files=self.files,
            pickles=True,
        )

    @property
    def about(self) -> tuple[str, ...]:
        """What there is to know of it, a sentence each."""
        where = f"{self.hub}, commit {self.revision}" if self.revision else self.hub
        where = where or "not on the hub"
        said = [
            f"Weights: {where}" + ("; its terms must be accepted first." if self.gated else "."),
            f"License: {self.license}." if self.license else "License: not known here.",
        ]
        if self.disagreement:
            taken = f"By default the harness takes {self.pooling}."
            said.append(f"Sources differ: {self.disagreement}. {taken}")
        if self.uncertain:
            said.append(f"Not certain: {self.uncertain}.")
        if self.loader == "remote-code":
            commit = "" if self.revision else "; no source pins a commit, so name one: revision"
            said.append(
                f"Loading it runs code of {self.hub or 'its folder'} in a process of its own, only "
                f"with the setting trust_remote_code=true{commit}."
            )
        if self.loader == "package":
            said.append(f"The package {self.package} loads it: {self.install}.")
        if self.how:
            said.append(f"How it is had: {self.how}.")
        return tuple(said)

    def length(self, pooling: str) -> int:
        """Of an embedding."""
        return self.width * (2 if pooling in ("cls+mean", MULTISCALE) else 1)


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
        for name in {"mean", "std", "files", "more"} & said.keys():
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
    if encoder.loader == "package" and random:
        raise HarnessError(
            f"{FAMILY}:{rest}: the package {encoder.package} makes no network with random weights; "
            f"leave out {RANDOM}"
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
            "weights": Option(RANDOM if random else encoder.file or "hub", help=WEIGHTS),
            "device": EXECUTION["device"],
            **_foreign(encoder),
        },
        device=lambda settings: accelerator(str(settings["device"])),
        requires=(*REQUIRES, *library),
        install=TRANSFORMERS,
    )


def _foreign(encoder: Encoder) -> dict[str, Option]:
    """Settings of encoders that code of others loads."""
    python = Option("", help="interpreter that runs it; by default, the one of the harness")
    if encoder.loader == "package":
        return {"python": python}
    if encoder.loader != "remote-code":
        return {}
    return {
        "trust_remote_code": Option(False, help="whether code of its repository may run"),
        "revision": Option(encoder.revision, help="commit of the repository, 40 digits"),
        "python": python,
    }


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
    """Embeddings of patches. Raises UnavailableError when the weights cannot be obtained.

    The digest of the weights, which is part of every key, is also of how the network is built and
    fed: its description, and for transformers the configuration beside the weights.
    """
    if not encoder.hub and settings["weights"] == "hub":
        raise UnavailableError(
            f"{FAMILY}:{encoder.name}: its weights are not on the hub: {encoder.how}; name the "
            "file with --set weights=PATH"
        )
    if encoder.loader in ("remote-code", "package"):
        made: Features = later("harness_timm.foreign:features")(encoder, pooling, settings)
        return made
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
    cannot be obtained.
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
