"""Reads a Hugging Face config's RoPE as the section `encoding` of a posjax config, and writes it.

  config = json.load(open('config.json'))
  encodings.build(dims, **read_config(config))
  Rope(**read(config['rope_scaling'], rope_theta=config['rope_theta'])['rope'], layout='half')

Which channels are pairs does not stand in these: that is a matter of the model's class, and so is
what families.py says, for which `read` needs the config's `model_type`.
"""

from posjax.hub.rope_parameters.reading import read, read_config
from posjax.hub.rope_parameters.writing import write, write_old

__all__ = ['read', 'read_config', 'write', 'write_old']
