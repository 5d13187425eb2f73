"""What a reader sees: pages, tables and pictures."""
