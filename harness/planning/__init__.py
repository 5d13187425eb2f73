"""From what was asked to the jobs whose results are lacking."""
