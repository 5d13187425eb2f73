"""What each command of ``harness`` does: call, print, say how it went."""

from harness.commands.auditing import audit, calibrate, plan_audit
from harness.commands.comparing import compare, contrast, plan_contrast
from harness.commands.curating import list_results, remove_results
from harness.commands.downloading import get
from harness.commands.extending import check, list_, new_plugin, plugins
from harness.commands.running import leaderboard, plan_run, run

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
    "new_plugin",
    "plan_audit",
    "plan_contrast",
    "plan_run",
    "plugins",
    "remove_results",
    "run",
]
