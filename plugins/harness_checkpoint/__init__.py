"""Any trained torch model, described by a TOML file and run in a process of its own.

    harness run --plugin mine.toml --dataset nct-crc-he --model mine

Nothing here imports torch: only ``worker.py`` does, in the interpreter that the file names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness import Model, Reader, hookimpl, later

if TYPE_CHECKING:
    from harness_checkpoint.description import CheckpointKeys, Description


@hookimpl
def harness_readers() -> Iterable[Reader]:
    """The kind of TOML file that describes a trained torch model."""
    yield Reader(
        name="torch-checkpoint",
        title="A trained torch model",
        read=read,
        keys=later("harness_checkpoint.description:keys"),
    )


def read(path: Path, content: Mapping[str, Any] | CheckpointKeys) -> list[Model]:
    """The model that a TOML file describes. Raises HarnessError naming the file and the key."""
    from harness_checkpoint.description import describe

    return [model(describe(path, content))]


def model(description: Description) -> Model:
    """A described pretrained classifier; its ``fit`` reads no patch."""
    return Model(
        name=description.name,
        title=description.title,
        fit=partial(later("harness_checkpoint.classifier:fit"), description),
        load=partial(later("harness_checkpoint.classifier:load"), description),
        execution=description.execution,
        trained_on=description.trained_on,
        classes=description.classes,
        selected_on=description.selected_on,
        outputs=description.outputs,
        initial_weights=lambda settings: description.initial_weights,
        device=partial(later("harness_checkpoint.process:accelerator"), description),
        requires=description.requires,
        install="pip install 'histo-harness[torch]', or name another interpreter with python = ...",
    )
