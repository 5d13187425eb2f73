"""Who computes jobs: the scheduler, local processes and their workers, trackers."""
