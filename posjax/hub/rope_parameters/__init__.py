"""Converts RoPE between a Hugging Face config and the section `encoding` of a posjax config.

  config = json.load(open('config.json'))
  encodings.build(dims, **read_config(config))
  Rope(**read(config['rope_scaling'], rope_theta=config['rope_theta'])['rope'], layout='half')

Hugging Face configs do not say which channels form pairs (`layout`); that depends on the model's
class. The facts in families.py depend on the class too, so `read` needs the config's `model_type`.
"""

from posjax.hub.rope_parameters.reading import read, read_config
from posjax.hub.rope_parameters.writing import write, write_old

__all__ = ['read', 'read_config', 'write', 'write_old']
