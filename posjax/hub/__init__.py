"""Other people's checkpoints and configs."""
