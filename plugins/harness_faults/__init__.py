"""Faults planted in real patches, to see what probes of datasets find and what models learn."""
