"""Jobs: what computes each kind of result, a module a kind.

A job is data (``JobSpec``), and so is the session that it runs in (``SessionSpec``). ``dispatch``
computes jobs from their specs. All inputs come from the store or from a dataset; nothing is passed
from job to job in memory.

For executors: ``run`` computes a group of jobs in the process that calls it, JSON in and JSON out,
and ``problem`` tells from an answer what went wrong.
"""

from harness.jobs.compute import problem, run
from harness.jobs.kinds import KINDS, dispatch
from harness.jobs.spec import JobSpec, SessionSpec

__all__ = ["KINDS", "JobSpec", "SessionSpec", "dispatch", "problem", "run"]
