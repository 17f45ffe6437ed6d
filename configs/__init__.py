"""Configs, one per encoding; base.py has every key. A wheel has them as posjax.configs."""
