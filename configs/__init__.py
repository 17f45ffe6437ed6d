"""Configs, one for each encoding; base.py has every key. In a wheel they are posjax.configs."""
