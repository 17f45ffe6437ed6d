"""Configs of tasks, each with an encoding that is named there."""
