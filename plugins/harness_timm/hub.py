"""Files of the Hugging Face hub, from its cache or downloaded, and no long wait when it is away.

HF_HUB_OFFLINE, HF_ENDPOINT, HF_HOME, HF_TOKEN and the time limits HF_HUB_ETAG_TIMEOUT and
HF_HUB_DOWNLOAD_TIMEOUT are respected. Imports no torch.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.error import HTTPError

from harness import HarnessError, UnavailableError
from harness.data.connection import LostError, ask, certificate_advice
from harness.errors import one_line

REACH_SECONDS = 4.0
"""How long the hub may take to answer, if none of LIMITS is set; else it is out of reach."""
LIMITS = ("HF_HUB_ETAG_TIMEOUT", "HF_HUB_DOWNLOAD_TIMEOUT")
"""Variables of the environment with the seconds that the hub may take."""
LONGEST = 300
"""Characters of what an error says that are shown."""
OF_THE_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EPERM, errno.EROFS)


FOLDER = "HARNESS_WEIGHTS"
"""Variable of the environment with a folder that holds repositories as OWNER/NAME/FILE."""

_AWAY: dict[str, str] = {}
"""Why a hub is out of reach, by its address: it is asked once, not for every dataset and seed."""


def cached_or_downloaded(repo: str, names: Sequence[str]) -> Path:
    """The first of some files that a repository has; "@" and a revision may follow its name.

    Looked for in the folder that ``$HARNESS_WEIGHTS`` names, then in the hub's cache, then on it.
    Raises HarnessError for what cannot be the name of a repository, a variable with no number and a
    disk that cannot be written to; and UnavailableError, within seconds, when none of the files can
    be obtained.
    """
    seconds = _reach()  # before the import, which cannot say which variable is wrong
    import huggingface_hub
    from huggingface_hub import constants, errors

    repo_id, _, revision = repo.partition("@")
    if folder := os.environ.get(FOLDER):
        if not Path(folder).is_dir():
            raise HarnessError(f"${FOLDER}={folder}: no such folder; correct it or unset it")
        for name in names:
            if Path(folder, repo_id, name).is_file():
                return Path(folder, repo_id, name)
    at: dict[str, Any] = {"revision": revision} if revision else {}
    try:
        for name in names:
            path = huggingface_hub.try_to_load_from_cache(repo_id, name, **at)
            if isinstance(path, str):
                return Path(path)
    except errors.HFValidationError as error:
        raise HarnessError(f"{repo}: cannot be the name of a repository; {error}") from error
    if reason := _out_of_reach(huggingface_hub.hf_hub_url(repo_id, names[0], **at), seconds):
        raise UnavailableError(f"{repo}: {reason}")
    log_in = "set HF_TOKEN or run hf auth login"
    if os.environ.get("HF_TOKEN"):
        log_in = "check HF_TOKEN, which is set"
    for name in names:
        try:
            return Path(huggingface_hub.hf_hub_download(repo_id, name, etag_timeout=seconds, **at))
        except errors.LocalEntryNotFoundError as error:
            raise UnavailableError(f"{repo}: {_said(error.__cause__ or error)}") from error
        except errors.EntryNotFoundError:
            continue
        except errors.GatedRepoError as error:
            raise UnavailableError(
                f"{repo} is gated: accept its terms at {constants.ENDPOINT}/{repo_id} and {log_in}"
            ) from error
        except errors.RevisionNotFoundError as error:
            raise UnavailableError(
                f"{repo_id}: has no commit {revision or 'main'}, or no more: choose one of "
                f"{constants.ENDPOINT}/{repo_id}/commits/main"
            ) from error
        except errors.RepositoryNotFoundError as error:
            raise UnavailableError(
                f"{repo}: there is no such repository, or it is private: correct the name, or "
                f"{log_in}"
            ) from error
        except Exception as error:  # its HTTP library has changed more than once, and its errors
            if isinstance(error, OSError) and error.errno in OF_THE_DISK:
                where = error.filename or constants.HF_HUB_CACHE
                raise HarnessError(
                    f"{repo}: {where}: {error.strerror}; fix that, or set HF_HOME to another folder"
                ) from error
            refused = getattr(getattr(error, "response", None), "status_code", 0) in (401, 403)
            advice = f"; {log_in}" if refused else ""
            raise UnavailableError(f"{repo}: {_said(error)}{advice}") from error
    raise UnavailableError(f"{repo}: has no {' or '.join(names)}")


def _reach() -> float:
    """Seconds that the hub may take to answer: the larger of LIMITS, as far as they are set."""
    given = []
    for name in LIMITS:
        text = os.environ.get(name, "").strip()
        if text and not (text.isascii() and text.isdecimal()):
            raise HarnessError(f"{name}={text}: must be a whole number of seconds; correct it")
        given += [float(text)] if text else []
    return max(given, default=REACH_SECONDS)


def _said(error: BaseException) -> str:
    """What an error of the hub's client or its HTTP library says, and what to do about it."""
    said = one_line(f"{type(error).__name__}: {error}", LONGEST)
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        said += f"; {certificate_advice()}"
    elif "timeout" in said.lower() or "timed out" in said.lower():
        said += f"; set {' and '.join(LIMITS)} to more seconds"
    return said


def _out_of_reach(url: str, seconds: float) -> str:
    """Why the hub cannot be asked for a file right now, or "" when it answers.

    The hub's own client retries for a minute when it has no connection. A thread, because looking
    up a name has no time limit of its own.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set and it is not in the local cache; unset it to download"
    hub = constants.ENDPOINT
    if hub in _AWAY:
        return _AWAY[hub]
    outcome = [
        f"no answer from {hub} within {seconds:g} s; set {LIMITS[0]} to more seconds, or "
        "HF_ENDPOINT to a mirror"
    ]

    def reach() -> None:
        try:
            ask(url, method="HEAD", timeout=seconds).close()
        except HTTPError as error:
            # Below 500 the hub is there: what it refuses us it may grant its client (a token).
            outcome[0] = f"{hub} answered {error.code}" if error.code >= 500 else ""
            error.close()
        except LostError as error:
            if "timed out" not in str(error):
                advice = error.advice or "check the network, or set HF_ENDPOINT to a mirror"
                outcome[0] = f"{hub}: {error}; {advice}"
        except Exception as error:  # such as a HarnessError about certificates
            outcome[0] = one_line(f"{hub}: {error}", LONGEST)
        else:
            outcome[0] = ""

    asking = threading.Thread(target=reach, daemon=True)
    asking.start()
    asking.join(seconds)
    if outcome[0]:
        _AWAY[hub] = outcome[0]
    return outcome[0]
