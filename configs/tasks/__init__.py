"""Configs of tasks, each with an encoding."""
