"""The machine: console and progress, files and digests, child processes, threads."""
