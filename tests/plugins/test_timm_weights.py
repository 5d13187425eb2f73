"""Where training starts: files, the hub as a local server imitates it, and no hub at all."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import json
import os
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("timm")
pytest.importorskip("safetensors")

from safetensors.torch import load_file, save_file  # noqa: E402

from harness import HarnessError, InitialWeights  # noqa: E402
from harness_timm.building import Architecture, build  # noqa: E402
from harness_timm.loading import load_initial as load  # noqa: E402
from harness_timm.networks import EFFICIENTNET_B0  # noqa: E402
from harness_timm.weights import FILES, find_or_random  # noqa: E402

REPO, FILE = EFFICIENTNET_B0.repo, FILES[0]


def initial_weights(weights):
    return find_or_random(EFFICIENTNET_B0, weights)


def architecture(classes=9):
    return Architecture(pool="avg", classes=classes, image_size=32, precision="float32")


def load_initial(model, weights):
    load(model, weights, architecture())


def network(classes=9):
    return build(architecture(classes))


@pytest.fixture(scope="module")
def imagenet(tmp_path_factory):
    """A file like timm's on the hub: the same network with 1000 classes."""
    torch.manual_seed(7)
    state = {name: value.contiguous() for name, value in network(1000).state_dict().items()}
    path = tmp_path_factory.mktemp("weights") / "imagenet.safetensors"
    save_file(state, path, metadata={"format": "pt"})
    return path


def weights_of(path):
    return InitialWeights(label="test", digest="test", path=path)


def test_random_weights_are_not_warned_about():
    found = initial_weights("random")
    assert (found.label, found.digest, found.path, found.warning) == (
        "random initialization",
        "random",
        None,
        "",
    )


def test_a_file_is_known_by_its_content(imagenet):
    found = initial_weights(str(imagenet))
    assert found.label == "file imagenet.safetensors"
    assert found.digest == hashlib.sha256(imagenet.read_bytes()).hexdigest()
    assert found.path == imagenet
    assert initial_weights(str(imagenet)) is found


def test_another_number_of_classes_leaves_only_the_last_layer_random(imagenet):
    model = network()
    head = {
        name: value.clone() for name, value in model.state_dict().items() if "classifier" in name
    }
    load_initial(model, weights_of(imagenet))
    loaded = load_file(imagenet)
    assert len(head) == 2
    for name, value in model.state_dict().items():
        assert torch.equal(value, head[name] if name in head else loaded[name]), name


def test_the_same_number_of_classes_loads_everything(tmp_path):
    state = {name: value.contiguous() for name, value in network().state_dict().items()}
    save_file(state, tmp_path / "own.safetensors")
    model = network()
    assert not torch.equal(model.state_dict()["classifier.weight"], state["classifier.weight"])
    load_initial(model, weights_of(tmp_path / "own.safetensors"))
    for name, value in model.state_dict().items():
        assert torch.equal(value, state[name]), name


def test_batch_counters_may_be_lacking(imagenet, tmp_path):
    state = {k: v for k, v in load_file(imagenet).items() if "num_batches" not in k}
    save_file(state, tmp_path / "lean.safetensors")
    model = network()
    load_initial(model, weights_of(tmp_path / "lean.safetensors"))
    assert torch.equal(model.state_dict()["conv_head.weight"], state["conv_head.weight"])


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (lambda s: s.pop("conv_stem.weight"), 'Missing key.*"conv_stem.weight"'),
        (lambda s: s.update(extra=torch.zeros(1)), 'Unexpected key.*"extra"'),
        (lambda s: s.update({"bn1.bias": torch.zeros(5)}), "size mismatch for bn1.bias"),
        (lambda s: s.pop("classifier.bias"), 'Missing key.*"classifier.bias"'),
        (lambda s: s.clear(), "there is nothing in it"),
    ],
)
def test_weights_of_another_network_are_named_with_the_key(change, complaint, tmp_path):
    state = {name: value.contiguous() for name, value in network().state_dict().items()}
    change(state)
    path = tmp_path / "other.safetensors"
    save_file(state, path)
    for classes in (9, 5, 0):
        with pytest.raises(HarnessError, match=f"other.safetensors: cannot be .*{complaint}"):
            load(network(classes), weights_of(path), architecture(classes))


def test_a_truncated_file_is_named(imagenet, tmp_path):
    whole = imagenet.read_bytes()
    for name, data in {
        "half": whole[: len(whole) // 2],
        "empty": b"",
        "text": b"hello" * 99,
    }.items():
        path = tmp_path / f"{name}.safetensors"
        path.write_bytes(data)
        with pytest.raises(HarnessError, match=rf"{name}.safetensors: cannot be read"):
            initial_weights(str(path))
        with pytest.raises(HarnessError, match=rf"{name}.safetensors: cannot be loaded"):
            load_initial(network(), weights_of(path))


def test_only_safetensors_files_that_exist(tmp_path):
    with pytest.raises(HarnessError, match=r"setting weights=.*gone.safetensors: there is no such"):
        initial_weights(str(tmp_path / "gone.safetensors"))
    pickled = tmp_path / "model.pt"
    torch.save({}, pickled)
    with pytest.raises(HarnessError, match=r"setting weights=.*model.pt: must be hub, random or"):
        initial_weights(str(pickled))


class Hub(http.server.BaseHTTPRequestHandler):
    """The part of the hub that serves one file: HEAD and GET with its headers."""

    content = b""
    status = 200
    delay = 0.0
    asked: list[str] = []  # noqa: RUF012

    def do_HEAD(self):
        self.answer()

    def do_GET(self):
        if self.answer():
            self.wfile.write(self.content)

    def answer(self):
        self.asked.append(f"{self.command} {self.path}")
        time.sleep(self.delay)
        known = self.path == f"/{REPO}/resolve/main/{FILE}"
        status = self.status if known else 404
        self.send_response(status)
        if status == 200:
            digest = hashlib.sha256(self.content).hexdigest()
            self.send_header("ETag", f'"{digest}"')
            self.send_header("X-Linked-ETag", f'"{digest}"')
            self.send_header("X-Repo-Commit", "0123456789abcdef0123456789abcdef01234567")
            self.send_header("X-Linked-Size", str(len(self.content)))
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Length", str(len(self.content)))
        else:
            self.send_header("Content-Length", "0")
        self.end_headers()
        return status == 200

    def log_message(self, *_):
        pass


@contextlib.contextmanager
def hub(content=b"", status=200, delay=0.0, certificate=None):
    facts = {"content": content, "status": status, "delay": delay, "asked": []}
    handler = type("Handler", (Hub,), facts)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    if certificate:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate)
        server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http{'s' if certificate else ''}://127.0.0.1:{server.server_port}", handler.asked
    finally:
        server.shutdown()
        server.server_close()


ASK = """
import dataclasses, json, os, time
import harness_timm.hub
from harness_timm.networks import EFFICIENTNET_B0
from harness_timm.weights import find_or_random
if "REACH" in os.environ:
    harness_timm.hub.REACH_SECONDS = float(os.environ["REACH"])
started = time.monotonic()
found = find_or_random(EFFICIENTNET_B0, "hub")
find_or_random(dataclasses.replace(EFFICIENTNET_B0, repo="timm/another"), "hub")
again = find_or_random(EFFICIENTNET_B0, "hub")
seconds = time.monotonic() - started
print(json.dumps({**dataclasses.asdict(found), "path": str(found.path or ""),
                  "seconds": seconds, "same": again is found}))
"""


def ask(home, endpoint, **environment):
    """What a fresh process finds; the hub's client reads its environment when it is imported."""
    others = ("HF_", "SSL_CERT_", "REQUESTS_CA_", "CURL_CA_")
    clean = {
        k: v for k, v in os.environ.items() if not k.startswith(others) and "proxy" not in k.lower()
    }
    paths = os.pathsep.join(p for p in sys.path if p)
    done = subprocess.run(
        [sys.executable, "-c", ASK],
        env={**clean, "PYTHONPATH": paths, "HF_HOME": str(home), "HF_ENDPOINT": endpoint}
        | environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_hub_is_asked_once_and_then_its_cache_is_enough(imagenet, tmp_path):
    content = imagenet.read_bytes()
    with hub(content) as (endpoint, asked):
        found = ask(tmp_path, endpoint)
    assert found["label"] == "ImageNet (efficientnet_b0.ra_in1k)"
    assert found["digest"] == hashlib.sha256(content).hexdigest()
    assert found["warning"] == ""
    assert found["same"]
    assert sum(line.startswith(f"GET /{REPO}") for line in asked) == 1
    load_initial(network(), weights_of(Path(found["path"])))
    # The server is gone: the second process has only the cache.
    for offline in ({}, {"HF_HUB_OFFLINE": "1"}):
        cached = ask(tmp_path, endpoint, **offline)
        assert {**cached, "seconds": 0} == {**found, "seconds": 0}


def assert_fallback(found, *reasons):
    assert (found["label"], found["digest"], found["path"]) == (
        "random initialization",
        "random",
        "",
    )
    for reason in (REPO, "RANDOM", "--set weights=PATH", *reasons):
        assert reason in found["warning"]
    assert "\n" not in found["warning"]
    assert found["same"]


def test_without_a_hub_training_starts_from_random_weights_within_seconds(tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        endpoint = f"http://127.0.0.1:{unused.getsockname()[1]}"
        found = ask(tmp_path, endpoint)
    assert_fallback(found, endpoint, "refused")
    assert found["seconds"] < 6


def test_a_hub_that_does_not_answer_is_given_up_within_seconds(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        found = ask(tmp_path, endpoint)
    assert_fallback(found)
    assert found["seconds"] < 8


@pytest.mark.parametrize("status", [403, 404, 503])
def test_a_hub_that_refuses_is_not_waited_for(status, tmp_path):
    with hub(status=status) as (endpoint, _):
        found = ask(tmp_path, endpoint)
    assert_fallback(found)
    assert found["seconds"] < 8


def test_offline_by_order_of_the_user_nothing_is_asked(imagenet, tmp_path):
    with hub(imagenet.read_bytes()) as (endpoint, asked):
        found = ask(tmp_path, endpoint, HF_HUB_OFFLINE="1")
    assert_fallback(found, "HF_HUB_OFFLINE")
    assert asked == []


def test_what_the_hub_sends_must_be_whole(imagenet, tmp_path):
    with hub(imagenet.read_bytes()[:5000]) as (endpoint, _):
        started = time.monotonic()
        with pytest.raises(AssertionError, match=r"HarnessError: .*cannot be read as"):
            ask(tmp_path, endpoint)
    assert time.monotonic() - started < 30


@pytest.mark.parametrize("name", ["HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT"])
def test_a_slow_hub_is_waited_for_as_its_users_say(imagenet, tmp_path, name):
    with hub(imagenet.read_bytes(), delay=1.0) as (endpoint, _):
        found = ask(tmp_path / "short", endpoint, REACH="0.3")
        assert_fallback(found, f"no answer from {endpoint} within 0.3 s; set HF_HUB_ETAG_TIMEOUT")
        found = ask(tmp_path / "long", endpoint, REACH="0.3", **{name: "30"})
    assert found["label"] == "ImageNet (efficientnet_b0.ra_in1k)"
    assert found["warning"] == ""


@pytest.mark.parametrize("text", ["soon", "1.5", "-1"])
def test_a_time_limit_of_the_hub_that_is_no_number_is_named(tmp_path, text):
    with pytest.raises(AssertionError, match=rf"HarnessError: HF_HUB_ETAG_TIMEOUT={text}: must be"):
        ask(tmp_path, "http://127.0.0.1:9", HF_HUB_ETAG_TIMEOUT=text)


def test_a_certificate_of_a_hub_that_is_not_trusted_is_explained(imagenet, tmp_path):
    certificate = Path(__file__).parents[1] / "fixtures" / "tls" / "localhost.pem"
    with hub(imagenet.read_bytes(), certificate=certificate) as (endpoint, _):
        found = ask(tmp_path, endpoint)
        assert_fallback(found, "certificate is not trusted", "set SSL_CERT_FILE")
        found = ask(tmp_path, endpoint, SSL_CERT_FILE=str(certificate))
    assert found["warning"] == ""


def test_a_token_that_is_set_is_to_be_checked(tmp_path):
    with hub(status=401) as (endpoint, _):
        assert_fallback(ask(tmp_path, endpoint), "set HF_TOKEN or run hf auth login")
        assert_fallback(ask(tmp_path, endpoint, HF_TOKEN="hf_x"), "check HF_TOKEN, which is set")
