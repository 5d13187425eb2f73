"""Real patches with faults planted by class, and a local imitation of the Hugging Face hub."""

from __future__ import annotations

import hashlib
import http.server
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytest
from numpy.typing import NDArray

import harness_bias
import harness_nct_crc
from harness import Audit, Measured
from harness_bias.audit.signatures import tuned_on

Fault = Callable[[NDArray[np.uint8], float, np.random.Generator], NDArray[np.uint8]]
Steps = tuple[tuple[Fault, float], ...]
CAMERA = (harness_bias.FINE, harness_bias.RANGE)


class Labels:
    """A split without patches."""

    def __init__(self, labels: Sequence[int], ids: Sequence[str]) -> None:
        self.labels = np.asarray(labels, np.int64)
        self.ids = ids
        self.fingerprint = "labels"

    def read(self, indices):
        raise AssertionError("nothing to read")


@dataclass
class RealPatches:
    """Those of the sample that no limit was set on, and their features with faults, kept."""

    patches: NDArray[np.uint8]
    tissue: NDArray[np.int64]
    ids: list[str]
    known: dict = field(default_factory=dict)

    def planted(self, steps: Steps = (), features=CAMERA) -> dict[str, NDArray[np.float32]]:
        """Features by name of all patches with faults, one after the other."""
        lacking = [one for one in features if (one.name, steps) not in self.known]
        if lacking:
            patches = self.patches.copy()
            for index, patch in enumerate(patches):
                rng = np.random.default_rng(index)
                for fault, level in steps:
                    patch = fault(patch, level, rng)
                patches[index] = patch
            self.known |= {(one.name, steps): one.extract(patches) for one in lacking}
        return {one.name: self.known[one.name, steps] for one in features}

    def dealt(self, n_classes: int, seed: int = 0) -> NDArray[np.int64]:
        """Classes at random, with the same number of patches of each tissue, (N,)."""
        labels = np.empty(len(self.tissue), np.int64)
        order = np.random.default_rng(seed).permutation(len(labels))
        order = order[np.argsort(self.tissue[order], kind="stable")]
        labels[order] = np.arange(len(labels)) % n_classes
        return labels

    def audit(self, labels, which, *faults: Steps, features=CAMERA, groups=None) -> Audit:
        """Test patches alone, each with one of the faults, as ``which`` (N,) says."""
        planted = [self.planted(steps, features) for steps in faults]
        each = np.arange(len(labels))
        values = {
            one.name: np.stack([own[one.name] for own in planted])[which, each] for one in features
        }
        test = Measured(split=Labels(labels, self.ids), values=values, groups=groups)
        classes = tuple("abcdefghi"[: int(labels.max()) + 1])
        return Audit(classes=classes, train=None, test=test, folds=())


@pytest.fixture(scope="session")
def real() -> RealPatches:
    names = (harness_nct_crc.TRAIN, harness_nct_crc.TEST)
    splits = [harness_nct_crc.open_split(harness_nct_crc.SAMPLE, name) for name in names]
    ids = [id_ for split in splits for id_ in split.ids]
    own = ~tuned_on(ids)
    patches = np.concatenate([split.read(range(len(split.labels))) for split in splits])
    tissue = np.concatenate([split.labels for split in splits])
    return RealPatches(patches[own], tissue[own], [i for i, k in zip(ids, own, strict=True) if k])


class Hub(http.server.BaseHTTPRequestHandler):
    """A hub with these files, by "OWNER/NAME/FILE", or by "OWNER/NAME@COMMIT/FILE" of a commit."""

    def __init__(self, files, asked, *arguments):
        self.files, self.asked = files, asked
        super().__init__(*arguments)

    def do_GET(self):
        parts = re.fullmatch(r"/(.+)/resolve/([^/]+)/(.+)", self.path)
        repo, revision, name = parts.groups() if parts else (self.path, "main", "")
        place = repo if revision == "main" else f"{repo}@{revision}"
        self.asked.append(f"{place}/{name}")
        content = self.files.get(f"{place}/{name}")
        if content is None:
            there = any(known.startswith(f"{place}/") for known in self.files)
            self.send_response(404)
            self.send_header("X-Error-Code", "EntryNotFound" if there else "RevisionNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.send_header("ETag", f'"{hashlib.sha256(content).hexdigest()}"')
        self.send_header("X-Repo-Commit", "0" * 40 if revision == "main" else revision)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(content)

    do_HEAD = do_GET  # noqa: N815

    def log_message(self, *_):
        pass


@pytest.fixture
def serve(tmp_path, monkeypatch):
    """Serves files as a hub does; returns what it was asked for, a list that grows."""
    from huggingface_hub import constants

    servers = []

    def start(files):
        asked = []
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Hub, files, asked))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        url = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr(constants, "ENDPOINT", url)
        template = url + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_ENDPOINT", url)
        monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
        return asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()
