"""Logs predictions to MLflow, a run each, where ``MLFLOW_TRACKING_URI`` is set.

Only what a run of the harness newly computes is logged: results that were stored before are not.
``--without mlflow`` turns it off, ``MLFLOW_EXPERIMENT_NAME`` names the experiment.
"""

from __future__ import annotations

import hashlib
import logging
import os
import time
import warnings
from collections.abc import Mapping
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from harness import HarnessError, hookimpl
from harness.system.progress import say
from harness.text.numbers import given

EXPERIMENT = "histo-harness"
PARAMETERS = (
    *("model", "dataset", "seed", "selected_on", "trained_on"),
    *("initial_weights", "initial_weights_digest", "version", "device"),
)
SAME = "harness.trained_model"
"""Tag of what predictions of clean and of perturbed patches by the same model share."""


class Log:
    """An experiment, and its runs by what was trained. Raises what MLflow raises."""

    def __init__(self, uri: str) -> None:
        if find_spec("mlflow") is None:
            raise HarnessError(
                "MLFLOW_TRACKING_URI is set but mlflow is not installed: "
                "pip install 'histo-harness[mlflow]', or use --without mlflow"
            )
        # A server out of reach must not hold up a run for the minutes that MLflow would try.
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "10")
        os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "1")
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        if "://" not in uri or uri.startswith("file:"):
            # Since 3.10 MLflow wants to hear that files, not a database, are really meant.
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        for name in ("mlflow", "alembic", "urllib3"):
            logging.getLogger(name).setLevel(logging.ERROR)
        warnings.filterwarnings("ignore", module="mlflow")
        from mlflow.tracking import MlflowClient

        name = os.environ.get("MLFLOW_EXPERIMENT_NAME") or EXPERIMENT
        try:
            self.client = MlflowClient(tracking_uri=uri)
            experiment = self.client.get_experiment_by_name(name)
            self.experiment: str = (
                experiment.experiment_id if experiment else self.client.create_experiment(name)
            )
        except Exception as error:
            raise HarnessError(
                f"MLFLOW_TRACKING_URI is no place where MLflow can log ({str(error)[:300]}); "
                "correct it (a database needs pip install mlflow), or use --without mlflow"
            ) from error
        self.runs: dict[str, str] = {}
        self.failures = 0
        """In a row."""

    def clean(self, record: Mapping[str, Any], figures: Mapping[str, float], folder: Path) -> None:
        """A run for the prediction of clean patches."""
        from mlflow.entities import Param

        described = {**record, "dataset": record["key"]["dataset"]}
        settings = record.get("settings") or {}
        parameters = {name: described[name] for name in PARAMETERS if described.get(name) != ""}
        parameters |= {f"settings.{name}": value for name, value in settings.items()}
        tags = {
            SAME: _trained(record),
            "harness.digest": record["digest"],
            "harness.data": record["data"],
            "harness.plugin": record["plugin"],
            "harness.folder": str(folder),
            "mlflow.source.git.commit": record.get("revision") or "",
        }
        name = f"{record['model']} on {described['dataset']}"
        run = self.client.create_run(self.experiment, tags=tags, run_name=name).info.run_id
        self.runs[tags[SAME]] = run
        try:
            params = [Param(name, str(value)[:500]) for name, value in parameters.items()]
            self.client.log_batch(run, params=params)
            self.measured(run, {**figures, "seconds": record["seconds"], "patches": record["n"]})
            self.client.log_dict(run, dict(record), "record.json")
        except BaseException:
            with suppress(Exception):
                self.client.set_terminated(run, "FAILED")
            raise
        self.client.set_terminated(run)

    def changed(self, record: Mapping[str, Any], figures: Mapping[str, float]) -> None:
        """Metrics of the same run, such as ``hue/10/accuracy``."""
        trained = _trained(record)
        if trained not in self.runs:
            where = f"tags.`{SAME}` = '{trained}'"
            found = self.client.search_runs([self.experiment], where, max_results=1)
            if not found:  # it was predicted before it was tracked
                return
            self.runs[trained] = found[0].info.run_id
        under = f"{record['perturbation']}/{given(record['level'])}"
        self.measured(
            self.runs[trained], {f"{under}/{name}": value for name, value in figures.items()}
        )

    def measured(self, run: str, values: Mapping[str, float]) -> None:
        """Add metrics to a run."""
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        self.client.log_batch(
            run, metrics=[Metric(name, value, now, 0) for name, value in values.items()]
        )


_log: Log | None = None
"""Of the run under way, if it is tracked."""


@hookimpl
def harness_run_started() -> bool:
    """Find the experiment. Returns whether there is one."""
    global _log
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    _log = None
    if uri:
        _log = Log(uri)
    return bool(uri)


@hookimpl
def harness_result_stored(
    record: Mapping[str, Any], folder: Path, figures: Mapping[str, float]
) -> None:
    """Log predictions of patches that are not flipped; the others are parts of sums."""
    global _log
    if _log is None or record["key"]["kind"] != "prediction" or record["view"] != "identity":
        return
    log = _log
    try:
        if record["perturbation"] == "clean":
            log.clean(record, figures, folder)
        else:
            log.changed(record, figures)
    except BaseException:
        log.failures += 1
        if log.failures == 2:  # a server that went away is not waited for again and again
            say("MLflow failed twice in a row; nothing more of this run is logged there")
            _log = None
        raise
    log.failures = 0


def _trained(record: Mapping[str, Any]) -> str:
    """The same for clean and perturbed patches: the model and its fits."""
    parts = [record["data"], record["model"], *(fit["digest"] for fit in record["fits"])]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]
