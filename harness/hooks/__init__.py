"""The plugin system: hooks, loading, the registry, and what guards against plugins."""
