"""Encoders that only code of others can load: that of their repository, or of a package of theirs.

It runs in a process of its own, ``foreign_worker.py``, by the interpreter that the setting
``python`` names. Code of a repository runs only if the user says so, at a commit that is pinned,
and without the hub: nothing that it might fetch would be part of the key. Imports no torch.
"""

from __future__ import annotations

import ast
import hashlib
import json
import os
import re
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import Features, HarnessError, Setting, UnavailableError
from harness.system.foreign import Foreign
from harness_timm.encoders import DESCRIBES, FAMILY, TRANSFORMERS, Encoder
from harness_timm.frozen import NETWORK
from harness_timm.hub import FOLDER, cached_or_downloaded
from harness_timm.recipe import accelerator
from harness_timm.weights import digest_of, find

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SCRIPT = Path(__file__).with_name("foreign_worker.py")
COMMIT = re.compile(r"[0-9a-f]{40}")
REFERENCE = re.compile(r"(?:([\w./-]+)--)?(\w+)\.(\w+)")
"""What a configuration names its code by: OWNER/NAME-- of another repository, file and class."""
SECRET = ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")
"""Variables of the environment that code of others is not given."""
READS = ("title", "hub", "part", "call", "registers", "install")
"""Fields of an encoder that the process is told, as they are."""
KEYED = (*DESCRIBES, "package", "part", "call", "registers")
"""Fields of an encoder that its embeddings depend on."""


@dataclass(frozen=True)
class Repository:
    """What a repository says beside its weights."""

    where: str
    """For rows: its name and commit, or its folder."""
    config: str
    """JSON, as it stands there."""
    code: Mapping[str, str]
    """Texts of the files that its code is in, by name."""
    more: Mapping[str, Path]
    """Other files that its code asks the hub for, by name."""

    @cached_property
    def digest(self) -> str:
        """Of its code and of the files that this asks for."""
        files = {name: digest_of(path) for name, path in self.more.items()}
        return _digest([dict(self.code), files])


def features(encoder: Encoder, pooling: str, settings: Mapping[str, Setting]) -> Features:
    """Embeddings of patches by a process. Raises UnavailableError when it may or can not run.

    The digest of the weights, which is part of every key, is also of the code and its commit, and
    of how the encoder is fed and read.
    """
    precision, device = str(settings["precision"]), str(settings["device"])
    python, asked = _python(str(settings["python"])), str(settings["weights"])
    setup: dict[str, Any] = {name: getattr(encoder, name) for name in READS}
    if encoder.loader == "package":
        _look_for(encoder, encoder.package, python, encoder.install)
        weights, content = find(encoder.network, asked), []
        setup["load"] = encoder.package
    else:
        folder = _folder(encoder, asked)
        encoder = replace(encoder, revision="" if folder else str(settings["revision"]))
        _permit(encoder, folder, trusted=bool(settings["trust_remote_code"]))
        _look_for(encoder, "transformers", python, TRANSFORMERS)
        found = _repository(encoder, folder)
        weights = find(encoder.network, asked)
        kind = "random weights" if weights.path is None else "pretrained"
        label = f"{kind} ({found.where}, its code {found.digest[:12]})"
        content = [found.config, found.digest, encoder.revision]
        weights = replace(weights, label=label)
        setup |= {"load": encoder.loader, "config": _bare(found), "code": dict(found.code)}
        setup["more"] = {name: str(path) for name, path in found.more.items()}
    described = {name: getattr(encoder, name) for name in KEYED}
    setup |= {
        "weights": str(weights.path or ""),
        "precision": precision,
        "device": device,
        "mean": encoder.mean,
        "std": encoder.std,
    }
    weights = replace(weights, digest=_digest([weights.digest, described, *content]))
    named = f"{encoder.name}-{pooling}"
    if precision != "float32":
        named += f"-{precision}"
    return Features(
        name=named,
        extract=partial(_extract, encoder, pooling, python, json.dumps(setup)),
        weights=weights,
        device=partial(accelerator, device),
    )


def _extract(
    encoder: Encoder, pooling: str, python: str, setup: str, images: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Embeddings, float32 (B, D), of uint8 RGB patches (B, H, W, 3)."""
    import numpy as np

    from harness_timm.encoding import resized

    def answer() -> NDArray[np.float32]:
        patches = resized(images, encoder)
        try:
            process = _running(f"{FAMILY}:{encoder.name}", python, setup)
            asked = {"shape": patches.shape, "pooling": pooling, "length": encoder.length(pooling)}
            said, data = process.ask(asked, patches.tobytes())
        except BaseException:  # also when interrupted: an answer may be half read
            _running.cache_clear()
            raise
        return np.frombuffer(data, np.float32).reshape(said["shape"])

    return NETWORK.submit(answer).result()


@lru_cache(maxsize=1)  # the largest take gigabytes
def _running(about: str, python: str, setup: str) -> Foreign:
    """The process of an encoder, which has loaded it."""
    own = {name: value for name, value in os.environ.items() if name not in SECRET}
    # No file of torch.save is read with more than tensors in it, whatever the code asks for.
    environment = {**own, "HF_HUB_OFFLINE": "1", "TORCH_FORCE_WEIGHTS_ONLY_LOAD": "1"}
    folder = Path(tempfile.gettempdir())
    process = Foreign(SCRIPT, python=python, folder=folder, about=about, environment=environment)
    process.ask(json.loads(setup))
    return process


def _python(named: str) -> str:
    """The interpreter: ours, or the one named; a bare name is looked for as a shell does."""
    try:
        path = Path(named).expanduser()
    except RuntimeError as error:  # the home of nobody
        raise HarnessError(f"setting python={named}: {error}; give the whole path") from error
    return str(path.absolute()) if path.name != named else named or sys.executable


def _look_for(encoder: Encoder, module: str, python: str, install: str) -> None:
    """Raise UnavailableError if our own interpreter is to run it and lacks a module."""
    if python == sys.executable and find_spec(module) is None:
        raise UnavailableError(
            f"{FAMILY}:{encoder.name}: needs the package {module}: {install}; or name an "
            "interpreter that has it with --set python=PATH"
        )


def _folder(encoder: Encoder, asked: str) -> Path | None:
    """The folder of this machine that holds the repository, if one was named."""
    if asked not in ("hub", "random"):
        path = Path(asked).expanduser()
        folder = path if path.is_dir() else path.parent
    elif encoder.hub and os.environ.get(FOLDER):
        folder = Path(os.environ[FOLDER], encoder.hub)
    else:
        return None
    return folder if (folder / "config.json").is_file() else None


def _permit(encoder: Encoder, folder: Path | None, *, trusted: bool) -> None:
    """Raise UnavailableError unless the user trusts the code and its commit is pinned."""
    if folder is None and not encoder.hub:
        raise HarnessError(
            f"{FAMILY}:{encoder.name}: its folder has no config.json, which names its code; "
            "download the whole repository"
        )
    runs = f"{FAMILY}:{encoder.name}: loading it runs code"
    then = "and if you trust it, add --set"
    if folder is not None:
        if not trusted:
            raise UnavailableError(
                f"{runs} that lies in {folder}, in a process of its own; read it, {then} "
                "trust_remote_code=true"
            )
        return
    page = f"https://huggingface.co/{encoder.hub}"
    if not encoder.revision:
        raise UnavailableError(
            f"{runs} of {encoder.hub}, of which no source pins a commit, and what a branch holds "
            f"may change; choose one of {page}/commits/main, read its code, {then} "
            "revision=COMMIT --set trust_remote_code=true"
        )
    if not COMMIT.fullmatch(encoder.revision):
        raise HarnessError(
            f"setting revision={encoder.revision}: must be the 40 digits of a commit, as what a "
            f"branch or a tag holds may change; see {page}/commits/main"
        )
    if not trusted:
        raise UnavailableError(
            f"{runs} of {encoder.hub}, commit {encoder.revision}, in a process of its own; read "
            f"it at {page}/tree/{encoder.revision}, {then} trust_remote_code=true"
        )


def _repository(encoder: Encoder, folder: Path | None) -> Repository:
    """What a repository says, on the hub or in a folder. Raises HarnessError where it is wrong."""

    def get(name: str) -> Path:
        if folder is None:
            return cached_or_downloaded(encoder.network.repo, (name,))
        if not (folder / name).is_file():
            raise HarnessError(f"{folder}: has no {name}; download the whole repository")
        return folder / name

    path = get("config.json")
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        named = config.get("auto_map", {})
        references = [named[kind] for kind in ("AutoConfig", "AutoModel") if kind in named]
        found = [REFERENCE.fullmatch(str(one)) for one in references]
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise HarnessError(f"{path}: cannot be read ({error}); get it again") from error
    if "AutoModel" not in named or None in found:
        raise HarnessError(
            f"{path}: its auto_map names no code for AutoModel; it is no repository that "
            "trust_remote_code is for"
        )
    waiting = []
    for reference in filter(None, found):
        other, file, _ = reference.groups()
        if other and other.lower() != encoder.hub.lower() and folder is None:
            raise HarnessError(
                f"{path}: its code is in another repository, {other}, of which this pins no "
                f"commit; download both into one folder and name it with --set weights=FOLDER"
            )
        waiting.append(file)
    code: dict[str, str] = {}
    while waiting:
        name = f"{waiting.pop()}.py"
        if name not in code:
            code[name] = _text(get(name))
            waiting += _imported(code[name], name)
    where = f"{encoder.hub}@{encoder.revision[:12]}" if folder is None else f"folder {folder.name}"
    more = {name: get(name) for name in encoder.more}
    return Repository(where, json.dumps(config, sort_keys=True), code, more)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise HarnessError(f"{path}: cannot be read ({error}); get it again") from error


def _imported(code: str, name: str) -> list[str]:
    """Files beside it that a file of code imports, as transformers finds them."""
    try:
        nodes = list(ast.walk(ast.parse(code)))
    except (SyntaxError, ValueError) as error:
        raise HarnessError(f"{name}: is no code of Python ({error}); get it again") from error
    found = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.level == 1]
    return [
        name
        for node in found
        for name in ([node.module] if node.module else [alias.name for alias in node.names])
    ]


def _bare(repository: Repository) -> dict[str, Any]:
    """Its configuration, with code of no other place named in it."""
    config: dict[str, Any] = json.loads(repository.config)
    named = {
        kind: str(reference).rpartition("--")[2]
        for kind, reference in config["auto_map"].items()
        if kind in ("AutoConfig", "AutoModel")
    }
    return {**config, "auto_map": named}


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
