"""A page with the results of experiments, from the folders that posjax.sweep wrote."""
