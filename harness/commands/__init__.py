"""What each command of ``harness`` does: call, print, say how it went."""

from harness.commands.auditing import audit, calibrate
from harness.commands.comparing import compare, contrast
from harness.commands.curating import list_results, merge_stores, remove_results
from harness.commands.downloading import get
from harness.commands.extending import check, list_, new_plugin, plugins
from harness.commands.running import leaderboard, run

__all__ = [
    "audit",
    "calibrate",
    "check",
    "compare",
    "contrast",
    "get",
    "leaderboard",
    "list_",
    "list_results",
    "merge_stores",
    "new_plugin",
    "plugins",
    "remove_results",
    "run",
]
