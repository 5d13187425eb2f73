"""Files of the Hugging Face hub, from its cache or downloaded, and no long wait when it is away.

HF_HUB_OFFLINE, HF_ENDPOINT, HF_HOME and HF_TOKEN are respected. Imports no torch.
"""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from harness import HarnessError, UnavailableError

REACH_SECONDS = 4.0
"""How long the hub may take to answer before it counts as out of reach."""


_AWAY: dict[str, str] = {}
"""Why a hub is out of reach, by its address: it is asked once, not for every dataset and seed."""


def cached_or_downloaded(repo: str, names: Sequence[str]) -> Path:
    """The first of some files that a repository has; "@" and a revision may follow its name.

    Raises HarnessError for what cannot be the name of a repository, and UnavailableError, within
    seconds, when none of the files can be had.
    """
    import huggingface_hub
    from huggingface_hub import constants, errors

    repo_id, _, revision = repo.partition("@")
    at: dict[str, Any] = {"revision": revision} if revision else {}
    try:
        for name in names:
            path = huggingface_hub.try_to_load_from_cache(repo_id, name, **at)
            if isinstance(path, str):
                return Path(path)
    except errors.HFValidationError as error:
        raise HarnessError(f"{repo}: cannot be the name of a repository; {error}") from error
    if reason := _out_of_reach(huggingface_hub.hf_hub_url(repo_id, names[0], **at)):
        raise UnavailableError(f"{repo}: {reason}")
    log_in = "set HF_TOKEN or run hf auth login"
    for name in names:
        try:
            return Path(
                huggingface_hub.hf_hub_download(repo_id, name, etag_timeout=REACH_SECONDS, **at)
            )
        except errors.LocalEntryNotFoundError as error:
            raise UnavailableError(f"{repo}: {error}".splitlines()[0]) from error
        except errors.EntryNotFoundError:
            continue
        except errors.GatedRepoError as error:
            raise UnavailableError(
                f"{repo} is gated: accept its terms at {constants.ENDPOINT}/{repo_id} and {log_in}"
            ) from error
        except errors.RepositoryNotFoundError as error:
            raise UnavailableError(
                f"{repo}: there is no such repository, or it is private: correct the name, or "
                f"{log_in}"
            ) from error
        except Exception as error:  # its HTTP library has changed more than once, and its errors
            reason = f"{type(error).__name__}: {error}".splitlines()[0]
            raise UnavailableError(f"{repo}: {reason}") from error
    raise UnavailableError(f"{repo}: has no {' or '.join(names)}")


def _out_of_reach(url: str) -> str:
    """Why the hub cannot be asked for a file right now, or "" when it answers.

    The hub's own client retries for a minute when it has no connection. A thread, because looking
    up a name has no time limit of its own.
    """
    from huggingface_hub import constants

    if constants.HF_HUB_OFFLINE:
        return "HF_HUB_OFFLINE is set and it is not in the local cache"
    hub = constants.ENDPOINT
    if hub in _AWAY:
        return _AWAY[hub]
    outcome = [f"no answer from {hub} within {REACH_SECONDS:.0f} s"]

    def ask() -> None:
        request = urllib.request.Request(url, method="HEAD")
        try:
            with urllib.request.urlopen(request, timeout=REACH_SECONDS):
                outcome[0] = ""
        except urllib.error.HTTPError as error:
            # Below 500 the hub is there: what it refuses us it may grant its client (a token).
            outcome[0] = f"{hub} answered {error.code}" if error.code >= 500 else ""
        except (OSError, ValueError) as error:
            outcome[0] = f"{hub}: {getattr(error, 'reason', error)}"

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(REACH_SECONDS)
    if outcome[0]:
        _AWAY[hub] = outcome[0]
    return outcome[0]
