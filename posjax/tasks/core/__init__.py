"""The base of every task: the interface, the registry, and tasks whose examples are strings."""
