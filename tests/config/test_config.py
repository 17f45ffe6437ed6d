"""Command lines and configs: a mistake is one line and exit code 2; valid values get types."""

import io
import json
import os
import re
import shlex
import signal
import subprocess
import sys
import types
import warnings
from unittest import mock

import jax
import pytest
from ml_collections import ConfigDict

import posjax
from posjax import config as config_lib
from posjax import main, state, tasks
from posjax import run as run_lib
from posjax.config import ROOT, flags, identity, validation
from posjax.encodings import Chain
from posjax.encodings.fox import Fox
from posjax.encodings.kerple import Kerple
from posjax.encodings.nope import Nope
from posjax.encodings.path import Path
from posjax.encodings.rope import Rope
from posjax.errors import UserError, show
from posjax.metrics import Diverged
from posjax.models import transformer
from posjax.runtime import compile_cache, memory
from posjax.runtime.signals import Interrupted

CONFIGS = f'must be one of {", ".join(config_lib.available())}'

# Command lines and the text that their message must contain.
MISTAKES = {
  '': '--config is missing, for example python -m posjax.main --config=configs/rope.py; it '
      f'{CONFIGS}',
  '--config=': '--config is missing',
  '--config': 'Missing value for flag --config',
  '--config=ropee': f'--config=ropee: no such file; did you mean rope? It {CONFIGS}',
  '--config=configs/alibbi.py:small': '--config=configs/alibbi.py: no such file',
  '--config=configs': f'--config=configs: no such file; did you mean counting? It {CONFIGS}',
  '--config=~': '--config=~: no such file',
  '--config=~nobody/rope': '--config=~nobody/rope: no such file',
  f'--config={"r" * 300}': f'--config={"r" * 300}: no such file',
  "--config='rope\n'": r'--config=rope\n: no such file',
  '--config=rope:smal':
    '--config=rope:smal: did you mean small? The size must be one of tiny, small, base, large',
  # Keys.
  '--config=rope --config.model.layrs=3':
    '--config.model.layrs: no such key; did you mean model.layers (configs/base.py:LINE)?',
  '--config=rope --config.modell.dim=3': 'did you mean model.dim (configs/base.py:LINE)?',
  '--config=rope --config.model.batch=3': 'did you mean train.batch (configs/base.py:LINE)?',
  '--config=rope --config.evalute.multiples=3':
    'did you mean evaluate.multiples (configs/base.py:LINE)?',
  '--config=rope --config.encoding.rope.bse=3':
    'rope.bse: no such key; did you mean encoding.rope.base (configs/rope.py:LINE)?',
  '--config=rope --config.evaluate.multiples[0]=2':
    '--config.evaluate.multiples[0]: no such key; did you mean evaluate.multiples (',
  '--config=rope --config.checkpoint.zzz=2':
    '--config.checkpoint.zzz: no such key; checkpoint has every, keep',
  '--config=rope --config.zzz=2': 'no such key; the config has seed, encoding, model, task, ',
  '--config=rope --config.checkpoint={}':
    '--config.checkpoint: is a section; set its keys one by one: every, keep',
  # Types.
  '--config=rope --config.train.steps=2.5': 'train.steps = 2.5: must be an integer, such as 1000',
  '--config=rope --config.train.steps=1.2345e3':
    'train.steps = 1.2345e3: must be an integer, such as 1000',
  '--config=rope --config.train.steps=1e-3': 'train.steps = 1e-3: must be an integer',
  '--config=rope --config.train.steps=1e99': 'must be in [1, 2147483647]',
  '--config=rope --config.train.steps=1e999999999': 'must be an integer',
  '--config=rope --config.model.remat=1e0': 'model.remat = 1e0: must be true or false',
  '--config=rope --config.train.steps=': 'train.steps = : must be an integer, such as 1000',
  '--config=rope --config.train.steps': 'Missing value for flag --config.train.steps',
  '--config=rope --config.optimizer.clip=low':
    'optimizer.clip = low: must be a number, such as 1.0',
  '--config=rope --config.model.remat=maybe': 'model.remat = maybe: must be true or false',
  '--config=rope --noconfig.model.remat=1': '--noconfig.model.remat=1 does not take an argument',
  "--config=rope --config.model.remat='\n'": r'model.remat = \n: must be true or false',
  "--config=rope --config.seed='\x1b[31m'": r'seed = \x1b[31m: must be an integer, such as 0',
  '--config=rope --config.evaluate.multiples=1,x,2':
    'evaluate.multiples = 1,x,2: each must be a number, such as 1.0,2.0,4.0,8.0',
  '--config=rope --config.evaluate.multiples=1,,2':
    'evaluate.multiples = 1,,2: each must be a number, such as 1.0,2.0,4.0,8.0',
  '--config=rope --config.evaluate.multiples=1,2j':
    'evaluate.multiples = 1,2j: each must be a number, such as 1.0,2.0,4.0,8.0',
  '--config=rope --config.mesh.fsdp=x': 'mesh.fsdp = x: must be an integer, such as 1',
  '--config=rope --config.encoding.layers=3':
    'encoding.layers = 3: each must be a word, such as rope',
  '--config=rope --config.evaluate.multiples=1,2 --config.evaluate.multiples=1,4':
    '--config.evaluate.multiples: given 2 times',
  # Flags.
  '--config=rope --workdirr=x': '--workdirr: no such flag; did you mean --workdir?',
  '--confg=rope': '--confg: no such flag; did you mean --config?',
  '--config=rope --steps=5': '--steps: no such flag; did you mean --config.train.steps?',
  '--config=rope --model.windows=5': 'did you mean --config.model.windows?',
  '--config=rope --xyz': '--xyz: no such flag; the flags are --config, --workdir, --mode, ',
  '--config=rope --mode=trian':
    '--mode=trian: did you mean train? It must be one of train, evaluate, generate',
  '--config=rope --mode=evaluate --checkpoint=latest':
    '--checkpoint=latest: it must be newest, best or a step',
  '--config=rope --checkpoint=best': '--checkpoint: only for --mode=evaluate or --mode=generate',
  '--config=rope --mode=evaluate --prompt=x': '--prompt: only for --mode=generate',
  '--config=rope --mode=generate --dry_run': '--dry_run: only for --mode=train',
  '--config=rope --mode=generate --device=v5e': '--device: only for --mode=train',
  '--config=rope --device=v5e': '--device=v5e: only with --dry_run',
  '--config=rope --mode=evaluate --devices=8': '--devices: only for --mode=train',
  '--config=rope --devices=8 --device=v5e': '--device=v5e: only with --dry_run',
  '--config=rope --devices=8': '--devices=8: only with --dry_run and --device',
  '--config=rope --devices=8 --dry_run': '--devices=8: only with --dry_run and --device',
  '--config=rope --devices=0 --dry_run --device=v5e':
    '--devices=0: it must be a number such as 64, or 2x256',
  '--config=rope --devices=2x2x2 --dry_run --device=v5e':
    '--devices=2x2x2: it must be a number such as 64, or 2x256',
  '--config=rope --dry_run --device=V5E':
    'must be one of v4, v5e, v5p, v6e, tpu7x, a100, h100, h200, b200',
  '--config=rope --mode=evaluate --profile=5': '--profile: only for --mode=train',
  '--config=rope --profile=5 --dry_run': '--profile: not with --dry_run, which takes no step',
  '--config=rope --profile=five': '--profile=five: it must be a number of steps, such as 5',
  '--config=rope --profile=0': '--profile=0: it must be a number of steps, such as 5',
  '--config=rope --profile': 'Missing value for flag --profile',
  '--config=rope --dry_run=maybe': '--dry_run=maybe must be true or false',
  '--config=rope train': 'train: not a flag; flags look like --config.seed=1',
  '--config=rope --config.evaluate.multiples=1, 2, 4': '2,: not a flag;',
  # Hosts.
  '--config=rope --hosts=two': '--hosts=two: it must be a number, such as 1',
  '--config=rope --hosts=0': '--hosts=0: it must be a number, such as 1',
  '--config=rope --coordinator=a:1': '--coordinator and --host: only with --hosts, the number of',
  '--config=rope --hosts=2 --host=0': '--coordinator and --host: each host needs both, or the',
  '--config=rope --hosts=2 --host=0 --coordinator=a': '--coordinator=a: must be ADDRESS:PORT, such',
  '--config=rope --hosts=2 --host=2 --coordinator=a:1': '--host=2: it must be below --hosts=2',
  '--config=rope --hosts=2 --mode=generate': '--hosts: only for --mode=train or --mode=evaluate',
  # Buckets.
  '--config=rope --workdir=s3://b/run':
    '--workdir=s3://b/run: must be a local folder; mount it, or choose another',
  '--config=rope --mode=generate --workdir=file:///tmp/run':
    '--workdir=file:///tmp/run: must be a local folder, such as /tmp/run',
  '--config=rope --config.data.directory=s3://b/data': 'data.directory=s3://b/data: must be a loc',
  '--config=rope --config.data.corpus=text:s3://b/*.txt': 'data.corpus=text:s3://b/*.txt: must be',
  # Values.
  '--config=rope --config.writers=tensorbord':
    'writers = tensorbord: did you mean tensorboard? Each must be one of tensorboard, wandb',
  '--config=rope --config.writers=none': 'writers = none: each must be one of tensorboard, wandb',
  '--config=rope --config.encoding.layers=()': 'encoding.layers has 0 entries, model.windows 1',
  '--config=rope --config.model.norm.kind=rmsnrm':
    'model.norm.kind = rmsnrm: did you mean rmsnorm? It must be one of rmsnorm, layernorm',
  '--config=rope --config.model.mlp.activation=gelo':
    'model.mlp.activation = gelo: did you mean gelu? It must be one of silu, gelu, gelu_tanh, relu',
  '--config=rope --config.model.dtype=float16':
    'did you mean bfloat16? It must be one of float32, bfloat16',
  '--config=rope --config.attention.implementation=flash': 'one of auto, reference, blockwise',
  '--config=rope --config.optimizer.schedule=cosin':
    'did you mean cosine? It must be one of cosine, wsd',
  '--config=rope --config.seed=4294967296': 'seed = 4294967296: must be in [0, 4294967295]',
  '--config=rope --config.model.dim=0': 'model.dim = 0: must be in [1, 1048576]',
  '--config=rope --config.model.windows=0,-4': 'model.windows = 0,-4: must be in [0, 2147483647]',
  '--config=rope --config.model.windows=0,2147483648': 'must be in [0, 2147483647]',
  '--config=rope --config.model.head_dim=1000000000000':
    'model.head_dim = 1000000000000: must be in [1, 1048576]',
  '--config=rope --config.train.length=1000000000000': 'must be in [1, 16777216]',
  '--config=rope --config.optimizer.learning_rate=nan': 'learning_rate = nan: must be in (0, inf)',
  '--config=rope --config.optimizer.clip=0': 'optimizer.clip = 0.0: must be in (0, inf]',
  '--config=rope --config.optimizer.eps=0': 'optimizer.eps = 0.0: must be in (0, inf)',
  '--config=rope --config.optimizer.b1=1': 'optimizer.b1 = 1.0: must be in [0, 1)',
  '--config=rope --config.optimizer.b2=1': 'optimizer.b2 = 1.0: must be in [0, 1)',
  '--config=rope --config.model.dropout=1': 'model.dropout = 1.0: must be in [0, 1)',
  '--config=rope --config.generate.top_p=0': 'generate.top_p = 0.0: must be in (0, 1]',
  '--config=rope --config.optimizer.decay=1.5': 'optimizer.decay = 1.5: must be in [0, 1]',
  '--config=rope --config.optimizer.final=-1': 'optimizer.final = -1.0: must be in [0, 1]',
  '--config=rope --config.model.heads=6':
    'model.heads = 6: must be a multiple of model.kv_heads = 4, such as 4 or 8',
  '--config=rope --config.train.accumulate=32':
    'train.batch = 16: must be a multiple of train.accumulate = 32, such as 32',
  '--config=rope --config.model.layers=3 --config.model.windows=0,8':
    'model.layers = 3: must be a multiple of the length of model.windows, 2, such as 2 or 4',
  '--config=rope --config.encoding.layers=rope,nope,nope':
    'model.layers = 2: must be a multiple of the length of encoding.layers, 3, such as 3',
  '--config=rope --config.encoding.layers=rope,nope --config.model.windows=0,8,8':
    'encoding.layers has 2 entries, model.windows 3: each needs 1, or both need the same number',
  '--config=rope --config.model.windows=()': 'encoding.layers has 1 entries, model.windows 0',
  '--config=rope --config.optimizer.warmup=1000':
    'optimizer.warmup = 1000: must be at most 999, as train.steps = 1000',
  '--config=rope --config.train.steps=60 --config.optimizer.warmup=100':
    'optimizer.warmup = 100: must be at most 59, as train.steps = 60',
  '--config=rope --config.train.steps=0': 'train.steps = 0: must be in [1, 2147483647]',
  '--config=rope --config.train.steps=60 --config.optimizer.schedule=wsd'
  ' --config.optimizer.decay=nan': 'optimizer.decay = nan: must be in [0, 1]',
  '--config=rope --config.optimizer.schedule=wsd --config.optimizer.warmup=801':
    'must be at most 800, as train.steps = 1000 and optimizer.decay = 0.2 takes 200',
  # 0.29 * 100 is 28.999999999999996 in floating point, and means 29 steps.
  '--config=rope --config.optimizer.schedule=wsd --config.train.steps=100'
  ' --config.optimizer.decay=0.29 --config.optimizer.warmup=72':
    'must be at most 71, as train.steps = 100 and optimizer.decay = 0.29 takes 29',
  '--config=rope --config.mesh=2,1,1':
    '--config.mesh: is a section; set its keys one by one: data, fsdp, seq, tensor',
  '--config=rope --config.mesh.fsdp=-1':
    'mesh.fsdp = -1: only one axis can take all remaining devices; mesh.data does',
  '--config=rope --config.mesh.data=2 --config.mesh.fsdp=-1 --config.mesh.tensor=-1':
    'mesh.tensor = -1: only one axis can take all remaining devices; mesh.fsdp does',
  '--config=rope --config.mesh.fsdp=0':
    'mesh.fsdp = 0: must be positive, or -1 for all remaining devices',
  '--config=rope --config.mesh.data=-2': 'mesh.data = -2: must be positive, or -1',
  '--config=rope --config.evaluate.multiples=2,4':
    'evaluate.multiples = 2,4: must begin with 1 and increase, such as 1,1.5,2',
  '--config=rope --config.evaluate.multiples=1,4,2': 'must begin with 1 and increase',
  '--config=rope --config.evaluate.multiples=1,2,2': 'must begin with 1 and increase',
  '--config=rope --config.evaluate.multiples=()': 'must begin with 1 and increase',
  '--config=rope --config.model.form=encodr':
    'model.form = encodr: did you mean encoder? It must be one of auto, decoder, encoder',
}

# Mistakes in tasks, which are built before the model.
TASK_MISTAKES = {
  '--config=rope --config.task.name=txt':
    'task.name = txt: did you mean text? It must be one of addition, ',
  '--config=rope --config.task.text.strid=3':
    '--config.task.text.strid: no such key; did you mean task.text.stride?',
  '--config=rope --config.task.stride=3': '--config.task.stride: no such key; did you mean',
  '--config=rope --config.task.text.stride=x': 'task.text.stride = x: must be an integer',
  '--config=rope --config.task.text.stride=65':
    'task.text.stride = 65: must be at most train.length = 64',
  '--config=rope --config.task.text.stride=0': 'task.text.stride = 0: must be in [1, 2147483647]',
  '--config=rope --config.task.text.validation_tokens=2147483648':
    'task.text.validation_tokens = 2147483648: must be in [1, 2147483647]',
  '--config=rope --config.task.copy.rows=3':
    '--config.task.copy.rows: task.name is text, so that nothing would read it; set '
    '--config.task.name=copy',
  '--config=copy --config.train.length=3': 'train.length = 3: must be at least 4',
  '--config=copy --config.task.copy.rows=0': 'task.copy.rows = 0: must be positive',
  '--config=rope --config.model.form=encoder':
    'model.form = encoder: task.name is text, which supports decoder; auto selects that',
}

# Mistakes in encodings, which are checked when the model is built.
ENCODING_MISTAKES = {
  '--config=rope --config.encoding.layers=rope+rop':
    "encoding.layers: there is no encoding 'rop'; did you mean 'rope'? (encodings: abacus, alibi, ",
  '--config=rope --config.encoding.layers=rope,alibbi': "'alibbi'; did you mean 'alibi'?",
  '--config=rope --config.encoding.layers=rope+': "encoding.layers: there is no encoding ''",
  '--config=rope --config.encoding.layers=rope+chain': "there is no encoding 'chain'",
  '--config=rope --config.encoding.layers=rope_a+rop_b': "there is no encoding 'rop_b'",
  '--config=rope --config.encoding.layers=ALiBi': "no encoding 'ALiBi'; did you mean 'alibi'?",
  # Arguments that the config file leaves out.
  '--config=rope --config.encoding.alibi.factor=2':
    '--config.encoding.alibi.factor: encoding.layers is rope, so no layer would read it; add alibi',
  '--config=rope --config.encoding.layers=alibi --config.encoding.alibi.facto=2':
    '--config.encoding.alibi.facto: no such key; did you mean encoding.alibi.factor?',
  '--config=rope --config.encoding.layers=rope+fox --config.encoding.fox.bias=x':
    'encoding.fox.bias = x: must be a number, such as 0.0',
  '--config=rope --config.encoding.rope.scaling.factor=2': 'encoding.rope: scaling: rope_type is',
  '--config=p_rope --config.encoding.rope.scaling.x=1 --config.encoding.rope.scaling.rope_type=3':
    'encoding.rope: scaling: rope_type is 3 (valid: default, linear, ',
  '--config=rope --config.encoding.rope.scaling=yarn':
    '--config.encoding.rope.scaling: a dictionary; set its keys one by one',
  '--config=rope --config.encoding.rope.scaling.rope_type=yar': "'yar'; did you mean 'yarn'?",
  # Chains.
  '--config=rope --config.encoding.layers=rope+rope':
    'encoding.rope+rope: a chain needs two or more encodings, each once; it is rope+rope',
  '--config=local_global --config.encoding.layers=rope_local+rope_global':
    'encoding.rope_local+rope_global: a chain needs two or more encodings, each once;',
  '--config=fox --config.encoding.layers=fox+path':
    'encoding.fox+path: path computes its own logits: it must come before fox, whose term would be',
  '--config=xpos --config.encoding.layers=rope,cope+xpos':
    'encoding.cope+xpos: xpos computes its own logits',
  '--config=stick_breaking --config.encoding.layers=stick_breaking+alibi':
    'encoding.stick_breaking+alibi: stick_breaking turns logits into attention weights: it must '
    'come after alibi',
  # Sections that no layer reads.
  '--config=rope --config.encoding.layers=nope':
    'encoding.rope: encoding.layers is nope, so no layer would read it; start from '
    '--config=configs/nope.py, or add rope to the layers',
  '--config=rope --config.encoding.layers=rope_a': 'encoding.rope: encoding.layers is rope_a, so',
  '--config=local_global --config.encoding.layers=rope_local': 'encoding.rope_global: encoding.lay',
  '--config=randomize --config.encoding.layers=rope': 'encoding.randomize: encoding.layers is rope',
  # Arguments.
  '--config=local_global --config.encoding.rope_global.base=-1':
    'encoding.rope_global: base must be positive; it is -1.0',
  '--config=local_global --config.encoding.rope_local.layout=hlaf':
    "encoding.rope_local: layout is 'hlaf'; valid: half, interleaved",
  '--config=rope --config.encoding.rope.fraction=0.2':
    'encoding.rope: fraction 0.2 of head size 16 is 3.2 channels; it must be an even number of',
  '--config=rope --config.encoding.layers=rope+nope --config.encoding.rope.base=0':
    'encoding.rope: base must be positive; it is 0.0',
  '--config=alibi --config.encoding.alibi.bias_max=0': 'encoding.alibi: bias_max must be positive',
  '--config=alibi --config.encoding.alibi.bias_max=1e308':
    'encoding.alibi.bias_max: it must lie between -1e+38 and 1e+38; it is 1e+308',
  '--config=rope --config.encoding.rope.base=nan': 'must lie between -1e+38 and 1e+38; it is nan',
  **{
    f'--config={key.partition(".")[0]} --config.encoding.{key}=1000000000000':
      f'encoding.{key}: it must lie between -16777216 and 16777216; it is 1000000000000'
    for key in (
      'cope.rows', 'fire.length', 'learned.length', 'randomize.places', 'shaw.clip', 't5.buckets',
    )
  },
  '--config=cope --config.encoding.cope.rows=1': 'encoding.cope: rows must be at least 2; it is 1',
  '--config=dape --config.encoding.dape.base=fre':
    "encoding.dape: base is 'fre'; valid: alibi, fire, kerple",
  '--config=dape --config.encoding.dape.width=0': 'encoding.dape: width must be positive; it is 0',
  '--config=fire --config.encoding.fire.length=0':
    'encoding.fire: length and width must be positive; they are 0 and 32',
  '--config=kerple --config.encoding.kerple.kernel=lg':
    "encoding.kerple: kernel is 'lg'; valid: log, power",
  '--config=learned --config.encoding.learned.length=0':
    'encoding.learned: length, the rows of the table, must be positive; it is 0',
  '--config=learned --config.encoding.learned.length=32':
    'train.length is 64, and encoding.learned represents 32 positions',
  '--config=path --config.encoding.path.rank=0': 'encoding.path: rank must be positive; it is 0',
  '--config=randomize --config.encoding.randomize.places=0':
    'encoding.randomize: places, the positions to draw from, must be positive; it is 0',
  '--config=randomize --config.encoding.randomize.places=32':
    'train.length is 64, and encoding.randomize+rope represents 32 positions',
  '--config=shaw --config.encoding.shaw.clip=-1': 'encoding.shaw: clip must not be negative; it is',
  '--config=sinusoidal --config.model.dim=63': 'encoding.sinusoidal: the width must be even',
  '--config=t5 --config.encoding.t5.buckets=7':
    'encoding.t5: buckets must be a positive multiple of 2; it is 7',
  '--config=t5 --config.encoding.t5.max_distance=16':
    'encoding.t5: max_distance must be more than 16, the number of near distances with',
  '--config=transformer_xl --config.model.dim=63': 'encoding.transformer_xl: the width D must',
  '--config=xpos --config.encoding.xpos.gamma=0':
    'encoding.xpos: base, scale_base and gamma must be positive; they are 10000.0, 512.0 and 0.0',
  '--config=xpos --config.model.head_dim=15': 'encoding.xpos: the head size must be even',
}

# Valid command lines, the encodings that they build, and the paths of their weights.
BUILT = {
  '--config=local_global': ({'rope_local': Rope(), 'rope_global': Rope(base=1e6)}, []),
  '--config=rope --config.encoding.layers=nope,rope': ({'nope': Nope(), 'rope': Rope()}, []),
  '--config=rope --config.encoding.layers=rope+nope --config.encoding.rope.base=5e5':
    ({'rope+nope': Chain((Rope(base=5e5), Nope()))}, []),
  '--config=kerple --config.encoding.layers=kerple,rope+kerple': (
    {'kerple': Kerple(), 'rope+kerple': Chain((Rope(), Kerple()))},
    ['kerple/r1_N', 'kerple/r2_N', 'rope+kerple/kerple/r1_N', 'rope+kerple/kerple/r2_N'],
  ),
  '--config=fox --config.encoding.layers=path+fox': (
    {'path+fox': Chain((Path(), Fox()))},
    [
      'path+fox/fox/gate_LDN', 'path+fox/fox/gate_bias_LN', 'path+fox/path/beta_LDK',
      'path+fox/path/beta_bias_LK', 'path+fox/path/down_LDR', 'path+fox/path/taps_LRKH',
      'path+fox/path/up_LRKH',
    ],
  ),
}

# Bodies of config files and the text that their message must contain.
BROKEN_FILES = {
  '1 / 0': 'FILE:2: ZeroDivisionError: division by zero',
  'raise SystemExit("no")': 'FILE:2: SystemExit: no',
  'SIZES = 3': "FILE: TypeError: 'int' object is not iterable",
  'def get_config(size=': "FILE: SyntaxError: '(' was never closed (mine.py, line 2)",
  'from configs import bas': "FILE:2: ImportError: cannot import name 'bas' from 'configs'",
  'x = 1': "FILE: AttributeError: module 'mine' has no attribute 'get_config'",
  'def get_config(size="tiny"): pass': 'FILE: TypeError: get_config() returned None, not a ConfigD',
  'def get_config(size="tiny"):\n  return base.get_config("tny")': "FILE:3: KeyError: 'tny'",
}

# Changes that a config file makes, and the text that their message must contain.
BROKEN_CONFIGS = {
  'config.model.layrs = 3':
    'FILE: model.layrs: no such key; did you mean model.layers (ROOT/configs/base.py:LINE)?',
  'config.model.dim = 2.5': 'TypeError: ',
  'config.checkpoint = dict(every=2.5, keep=2)':
    'FILE: checkpoint.every = 2.5: must be an integer, such as 250',
  'config.evaluate.multiples = (1, "2")':
    'FILE: evaluate.multiples = 1,2: each must be a number, such as 1.0,2.0,4.0,8.0',
  'config.mesh.fsdp = "2"': 'TypeError: ',
  'del config.seed': 'FILE: seed: missing; start from base.get_config(size) of configs/base.py',
  'config.train.batch = -1': 'train.batch = -1: must be in [1, 1048576]',
  'config.encoding = dict(layers=("rope_a", "nope"), rope_a=dict(bse=5.0))':
    "encoding.rope_a.bse: rope has no such argument; did you mean 'base'? (arguments: base, fract",
  'config.encoding = dict(layers=("rope_a", "nope"), rope_a=dict(base="x"))':
    "encoding.rope_a.base: 'x' is not of type float",
  'config.encoding = dict(layers=("nope",), nope=dict(base=5.0))':
    'encoding.nope.base: nope has no such argument (arguments: none)',
  'config.encoding = dict(layers=("nope",), dims=dict(base=5.0))':
    'encoding.dims: encoding.layers is nope, so no layer would read it',
  'config.task = dict(name="text", text=dict(strid=3))':
    'task.text.strid: no such argument; did you mean stride? It must be one of tokens, stride, ',
  'config.task = dict(name="text", text=dict(stride=3.5))':
    'task.text.stride: 3.5 is not of type int',
  'config.task = dict(name="copy", text=dict(stride=3))':
    'task.text: task.name is copy, so that nothing would read it',
}


@pytest.fixture(autouse=True)
def at_root(monkeypatch):
  monkeypatch.chdir(ROOT)


def parse(line):
  return run_lib.parse(['posjax', *shlex.split(line)])


def message(line, capsys):
  """Returns the error of a wrong command line, without 'posjax: ', line numbers replaced."""
  assert main.main(['posjax', *shlex.split(line)]) == 2
  captured = capsys.readouterr()
  assert not captured.out
  assert re.fullmatch(r'posjax: [^\n]+\n', captured.err)
  return re.sub(r'(base|rope)\.py:\d+', r'\1.py:LINE', captured.err[len('posjax: ') : -1])


@pytest.mark.parametrize('line', MISTAKES)
def test_a_mistake_is_one_line(line, capsys):
  assert MISTAKES[line] in message(line, capsys)


@pytest.mark.parametrize('line', ENCODING_MISTAKES)
def test_a_mistake_in_an_encoding_is_one_line(line, capsys):
  assert ENCODING_MISTAKES[line] in message(f'{line} --dry_run', capsys)


@pytest.mark.parametrize('line', TASK_MISTAKES)
def test_a_mistake_in_a_task_is_one_line(line, capsys):
  assert TASK_MISTAKES[line] in message(f'{line} --dry_run', capsys)


@pytest.mark.parametrize('body', BROKEN_FILES)
def test_broken_file(body, tmp_path, capsys):
  file = tmp_path / 'mine.py'
  file.write_text(f'from configs import base\n{body}\n')
  assert BROKEN_FILES[body].replace('FILE', str(file)) in message(f'--config={file}', capsys)


def write_config(folder, change):
  file = folder / 'mine.py'
  file.write_text(
    'from configs import base\n\n\ndef get_config(size="tiny"):\n'
    f'  config = base.get_config(size)\n  {change}\n  return config\n'
  )
  return file


@pytest.mark.parametrize('change', BROKEN_CONFIGS)
def test_broken_config(change, tmp_path, capsys, monkeypatch):
  file = write_config(tmp_path, change)
  monkeypatch.chdir(tmp_path.parent)
  expected = BROKEN_CONFIGS[change].replace('FILE', f'{tmp_path.name}/mine.py')
  assert expected.replace('ROOT', str(ROOT)) in message(f'--config={file} --dry_run', capsys)


def test_the_line_number_of_a_key_is_right(capsys):
  main.main(['posjax', '--config=rope', '--config.model.layrs=3'])
  line = int(re.search(r'base\.py:(\d+)', capsys.readouterr().err)[1])
  assert 'layers=' in (ROOT / 'configs' / 'base.py').read_text().splitlines()[line - 1]


@pytest.mark.parametrize('arguments, code', [
  (['--config=rope', '--config.model.layrs=3'], 2),
  (['--config=rope', '--config.model.heads=6'], 2),
  (['--help'], 0),
])
def test_program_without_jax(arguments, code):
  command = [sys.executable, '-X', 'importtime', '-m', 'posjax.main', *arguments]
  done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
  lines = done.stderr.splitlines()
  imported = {line.rpartition('|')[2].split('.')[0].strip() for line in lines if '|' in line}
  said = [line for line in lines if not line.startswith('import time:')]
  assert done.returncode == code
  assert 'ml_collections' in imported and not imported & {'jax', 'flax', 'numpy', 'orbax', 'grain'}
  assert len(said) == (code == 2) and all(line.startswith('posjax: ') for line in said)


def test_help_names_everything(capsys):
  with pytest.raises(SystemExit) as stop:
    parse('--config=nonsense --help')
  text = capsys.readouterr().out
  assert stop.value.code == 0
  for name in [*flags.FLAGS, 'config.KEY']:
    assert f'\n  --{name} ' in text
  for name in config_lib.available():
    assert f'\n  {name} ' in text
  assert 'tiny, small, base, large' in text
  for code in ('0 done', '42 after SIGTERM', '2 an error', '3 diverged', '130 Ctrl-C'):
    assert code in text
  assert '--logtostderr' not in text


def test_the_schema_is_not_a_config():
  assert {'rope', 'nope'} <= config_lib.available().keys()
  assert 'base' not in config_lib.available()


def test_print_config(capsys):
  line = '--config=rope --config.train.steps=500 --print_config'
  assert main.main(['posjax', *shlex.split(line)]) == 0
  out = capsys.readouterr().out
  values = config_lib.flatten(parse(line).config)
  for key, value in values.items():
    assert f'\n{key} = {show(value)}' in out
  assert re.search(r'^model\.kv_heads = 4 +# key and value heads K', out, re.MULTILINE)
  assert re.search(r'^encoding\.rope\.fraction = 1\.0 +# share of each head', out, re.MULTILINE)
  assert re.search(r'^encoding\.layers = rope +# .*pattern tiled over the depth', out, re.MULTILINE)
  assert f'runs/{parse(line).name}\n' in out


def test_print_config_includes_arguments_that_the_config_does_not_set(capsys):
  """With the meaning from the encoding's config, or else where to look for it."""
  lines = '--config=base --config.encoding.layers=rope_a+fox,nope --config.encoding.rope_a.base=5'
  assert main.main(['posjax', *shlex.split(f'{lines} --print_config')]) == 0
  printed = [re.split(' +# ', line) for line in capsys.readouterr().out.splitlines()]
  assert [line for line in printed if line[0].startswith('encoding.')] == [
    ['encoding.layers = rope_a+fox,nope', mock.ANY],
    ['encoding.rope_a.base = 5.0', 'wavelengths run from 2 pi to 2 pi * base'],
    ['encoding.rope_a.fraction = 1.0', 'share of each head that is rotated'],
    ['encoding.rope_a.layout = half', "pairs (i, i + H/2), or 'interleaved': (2i, 2i + 1)"],
    ['encoding.rope_a.scaling = {}', 'see posjax/encodings/rope.py'],
    ['encoding.fox.bias = 0.0', mock.ANY],
  ]


@pytest.mark.parametrize('override, value', [
  ('train.steps=5_000', 5000),
  ('train.steps 500', 500),
  ('train.steps=1e3', 1000),
  ('train.steps 2.5e3', 2500),
  ('train.steps=1E+3', 1000),
  ('evaluate.multiples=1,2e0,1.6e1', (1, 2, 16)),
  ('model.windows=(0, 1e2)', (0, 100)),
  ('optimizer.learning_rate=1', 1.0),
  ('optimizer.learning_rate=3e-4', 3e-4),
  ('optimizer.clip=inf', float('inf')),
  ('model.remat', True),
  ('model.head.tied=false', False),
  ('data.corpus=text:a b/*.txt', 'text:a b/*.txt'),
  ('data.corpus=12', '12'),
  ('mesh.data=-1', -1),
  ('writers=()', ()),
  ('writers=wandb,tensorboard', ('wandb', 'tensorboard')),
  ('evaluate.multiples=(1, 2, 4)', (1, 2, 4)),
  ('evaluate.multiples=1', (1,)),
  ('encoding.layers=nope', ('nope',)),
  ('encoding.layers=rope,nope', ('rope', 'nope')),
  ("encoding.layers=('nope', 'rope')", ('nope', 'rope')),
  ('encoding.layers=randomize+rope', ('randomize+rope',)),
  ('encoding.rope.base=5e5', 5e5),
  ('task.text.tokens=1e3', 1000),
  ('task.name=copy', 'copy'),
])
def test_override_is_typed(override, value):
  key = re.match(r'[\w.]+', override)[0]
  argv = ['posjax', '--config=rope']
  two = re.fullmatch(r'\S+ \S+', override) and '=' not in override
  argv += f'--config.{override}'.split() if two else [f'--config.{override}']
  got = config_lib.flatten(run_lib.parse(argv).config)[key]
  assert got == value and type(got) is type(value)


@pytest.mark.parametrize('settings, warmup', [
  ('train.steps=60', 6), ('train.steps=6e1', 6), ('train.steps=100', 10), ('train.steps=9', 1),
  ('train.steps=1', 0), ('train.steps=101', 100), ('train.steps=500', 100), ('seed=1', 100),
  ('train.steps=90 optimizer.warmup=80', 80),
  ('train.steps=120 optimizer.schedule=wsd', 12),  # fewer than 24 steps remain
  ('train.steps=125 optimizer.schedule=wsd', 100),
  ('train.steps=100 optimizer.schedule=wsd optimizer.decay=0.95', 5),
  ('train.steps=100 optimizer.schedule=wsd optimizer.decay=1', 0),
])
def test_a_warmup_longer_than_the_run_is_shortened(settings, warmup):
  """Warmup is a tenth of the steps, or less if that does not fit; the run name has the result."""
  overrides = ' '.join(f'--config.{setting}' for setting in settings.split())
  with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter('always')
    run = parse(f'--config=rope {overrides}')
  assert run.config.optimizer.warmup == warmup
  shortened = warmup < 80
  assert [str(warning.message) for warning in said] == shortened * [
    f'optimizer.warmup 100 -> {warmup}, since train.steps = {run.config.train.steps}'
  ]
  if shortened:
    assert parse(f'--config=rope {overrides} --config.optimizer.warmup={warmup}').name == run.name


@pytest.mark.parametrize('line', BUILT)
def test_layers_are_built_as_named(line):
  """The weights of each layer are stored under its name."""
  layers, leaves = BUILT[line]
  _, model = state.build(parse(line).config)
  assert model.pattern.by_name == {
    name: encoding.with_dims(model.dims) for name, encoding in layers.items()
  }
  weights = jax.eval_shape(lambda: transformer.init(model, jax.random.key(0)))['encoding']
  assert weights.keys() == layers.keys()
  paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(weights)]
  assert ['/'.join(key.key for key in path) for path in paths] == leaves


@pytest.mark.parametrize('line, section, want', [
  ('--config=fox --config.encoding.layers=rope+fox --config.encoding.rope.base=5',
   'rope', dict(base=5.0)),
  ('--config=base --config.encoding.layers=rope_a,nope --config.encoding.rope_a.fraction=0.5',
   'rope_a', dict(fraction=0.5)),
  ('--config=rope --config.encoding.rope.scaling.rope_type=longrope'
   ' --config.encoding.rope.scaling.factor=4 --config.encoding.rope.scaling.truncate=false'
   ' --config.encoding.rope.scaling.short_factor=1,1.5', 'rope',
   dict(base=1e4, fraction=1.0, layout='half', scaling=dict(
     rope_type='longrope', factor=4, truncate=False, short_factor=[1, 1.5],
     original_max_position_embeddings=64))),  # which yarn needs: train.length
])
def test_arguments_that_a_file_leaves_out(line, section, want):
  """A file holds only arguments that it sets; the encoding checks the keys of a dictionary."""
  assert config_lib.to_dict(parse(line).config.encoding)[section] == want


def test_flags_have_any_order_and_the_last_wins():
  assert not parse('--config=rope --noconfig.model.head.tied').config.model.head.tied
  run = parse('--config.seed=1 --mode=evaluate --config.seed=2 --config=rope:small --checkpoint=50')
  assert run.config.seed == 2 and run.config.model.dim == 512
  assert (run.flags.mode, run.flags.checkpoint) == ('evaluate', '50')
  assert run.name == parse('--config=rope:small --config.seed=2').name


def test_the_printed_command_reproduces_the_run():
  run = parse(
    "--mode=generate --config.data.corpus='text:a b' --prompt 'x y' --config rope --workdir=/w"
  )
  assert run.command == (
    "python -m posjax.main --config=rope --workdir=/w '--config.data.corpus=text:a b'"
  )
  again = parse(run.command.removeprefix('python -m posjax.main '))
  assert (again.name, again.workdir, again.command) == (run.name, '/w', run.command)


def test_name_of_a_config():
  specs = ('rope', 'rope.py', 'rope:tiny', 'configs/rope.py:tiny', f'{ROOT}/configs/rope.py')
  name, = {parse(f'--config={spec}').name for spec in specs}
  assert re.fullmatch(r'rope-tiny-[0-9a-f]{8}', name)
  assert parse('--config=rope').workdir == f'runs/{name}'
  config, path, size = config_lib.load('rope')
  other_order = ConfigDict(dict(reversed([*config.items()])))
  assert identity.run_name(other_order, path.stem, size) == name


def test_configs_work_from_another_folder(tmp_path, monkeypatch):
  """Even if that folder has its own configs."""
  name = parse('--config=rope').name
  file = write_config(tmp_path, 'config.seed = 7')
  (tmp_path / 'configs').mkdir()
  (tmp_path / 'configs/base.py').write_text('1 / 0')
  monkeypatch.chdir(tmp_path)
  others = [path for path in sys.path if path not in ('', str(ROOT))]
  monkeypatch.setattr(sys, 'path', [str(tmp_path), *others])
  for module in ('configs', 'configs.base'):
    monkeypatch.delitem(sys.modules, module, raising=False)
  assert parse('--config=configs/rope.py').name == name
  assert parse(f'--config={file.name}:small').config.seed == 7
  assert parse('--config=mine').name.startswith('mine-tiny-')


def test_a_config_with_size_none(tmp_path):
  file = tmp_path / 'mine.py'
  file.write_text('from configs import base\ndef get_config(size=None): return base.get_config()\n')
  assert re.fullmatch(r'mine-[0-9a-f]{8}', parse(f'--config={file}').name)


@pytest.mark.parametrize('name', config_lib.available())
def test_every_key_can_be_overridden(name):
  config, _, _ = config_lib.load(name)
  values = config_lib.flatten(config)
  argv = [f'--config.{key}={show(value)}' for key, value in values.items()]
  assert config_lib.flatten(config_lib.load(name, argv)[0]) == values


def test_a_key_that_is_a_method_of_configdict(tmp_path, capsys):
  file = write_config(tmp_path, 'config.encoding = dict(layers=("nope",), nope=dict(values=True))')
  said = message(f'--config={file} --config.encoding.nope.values=false', capsys)
  assert said == (
    f'--config.encoding.nope.values: also a method of ConfigDict; set it in {file}'
  )


@pytest.mark.parametrize('size', ['tiny', 'small', 'base', 'large'])
@pytest.mark.parametrize('name', config_lib.available())
def test_every_config_is_valid(name, size):
  validation.validate(config_lib.load(f'{name}:{size}')[0])


def test_tables_match_the_schema():
  schema = config_lib.flatten(config_lib.base().get_config())
  bounded = [key for keys in validation.INTERVALS.values() for key in keys]
  checked = [*bounded, *validation.CHOICES, *identity.WITHOUT_EFFECT]
  assert set(checked) <= schema.keys() and len(set(bounded)) == len(bounded)
  numbers = {
    key for key, value in schema.items()
    if {type(v) for v in (value if isinstance(value, tuple) else (value,))} <= {int, float}
  }
  own_rules = {'model.norm.offset', 'evaluate.multiples'} | {
    f'mesh.{axis}' for axis in ('data', 'fsdp', 'seq', 'tensor')
  }
  assert numbers - set(bounded) == own_rules
  for key, choices in validation.CHOICES.items():
    assert {schema[key]} <= {*choices, choices[:1]}


def changed(value):
  if isinstance(value, tuple):
    return value + value[:1]
  return not value if isinstance(value, bool) else value + type(value)('1')


def test_run_name_depends_on_settings_that_change_the_weights():
  config, path, size = config_lib.load('rope')
  name = identity.run_name(config, path.stem, size)
  without_effect = set()
  for key, value in config_lib.flatten(config).items():
    other = config.copy_and_resolve_references()
    other.update_from_flattened_dict({key: changed(value)})
    if identity.run_name(other, path.stem, size) == name:
      without_effect.add(key)
    assert (identity.difference(config, other) == {}) == (key in without_effect)
  assert without_effect == {
    'attention.implementation', 'attention.block', 'data.directory', 'train.log_every', 'mesh.data',
    'mesh.fsdp', 'mesh.seq', 'mesh.tensor', 'writers',
    'model.remat', 'train.accumulate', 'train.max_skipped',
    'checkpoint.every', 'checkpoint.keep', 'evaluate.multiples',
    'generate.tokens', 'generate.temperature',
    'generate.top_k', 'generate.top_p', 'generate.seed', 'generate.samples', 'generate.stop',
    'generate.beams', 'generate.length_penalty', 'init.run', 'init.checkpoint', 'init.vectors',
  }


def test_run_name_depends_on_training_data_of_a_task_not_on_its_tests():
  for task in tasks.names():
    settings = f'--config=rope --config.task.name={task}'
    run = parse(settings)
    for argument, value in tasks.arguments(tasks.find(task)).items():
      other = parse(f'{settings} --config.task.{task}.{argument}={show(changed(value))}')
      of_tests = argument in tasks.find(task).evaluation
      assert (other.name == run.name) == of_tests, (task, argument)
      assert (identity.difference(run.config, other.config) == {}) == of_tests


def test_difference_survives_json():
  old, new = [config_lib.to_dict(config_lib.load(spec)[0]) for spec in ('rope', 'nope')]
  saved = json.loads(json.dumps(old))
  assert saved == old and identity.difference(saved, config_lib.load('rope')[0]) == {}
  assert config_lib.changes(identity.difference(saved, new)) == (
    'encoding.layers rope -> nope, encoding.rope.base 10000.0 -> absent, '
    'encoding.rope.fraction 1.0 -> absent, encoding.rope.layout half -> absent'
  )
  other = parse('--config=rope --config.seed=3 --config.mesh.data=1 --config.model.windows=0,8')
  found = identity.difference(saved, other.config)
  assert config_lib.changes(found) == 'seed 0 -> 3, model.windows 0 -> 0,8'


@pytest.mark.parametrize('setting', [
  'task.text.stride=64', 'optimizer.warmup=999', 'optimizer.warmup=0', 'optimizer.final=1',
  'generate.top_p=1', 'generate.temperature=0', 'seed=4294967295', 'model.dropout=0',
  'optimizer.weight_decay=0', 'optimizer.b1=0', 'evaluate.multiples=1', 'mesh.fsdp=2',
  'mesh.data=8',
])
def test_boundary_values_are_valid(setting):
  config = parse(f'--config=rope --config.{setting}').config
  validation.validate(config)
  state.build(config)


def test_a_config_file_of_the_user_takes_precedence(tmp_path, monkeypatch):
  write_config(tmp_path, 'config.seed = 7').rename(tmp_path / 'rope.py')
  monkeypatch.setenv('HOME', str(tmp_path))
  assert parse('--config=~/rope').config.seed == parse('--config=~/rope.py').config.seed == 7
  assert parse('--config=rope').config.seed == 0
  monkeypatch.chdir(tmp_path)
  assert parse('--config=rope').config.seed == 7


def test_config_is_locked():
  config, _, _ = config_lib.load('rope')
  with pytest.raises(AttributeError):
    config.model.layrs = 3


@pytest.mark.parametrize('line, module', [
  ('--profile=7', 'train'),
  ('--dry_run --device=v5e', 'plan'),
  ('--mode=evaluate --checkpoint=best', 'evaluate'),
  ('--mode=generate --prompt=abc --checkpoint=7', 'generate'),
])
@pytest.mark.parametrize('raised, code, said', [
  (None, 0, ''),
  (UserError('no data'), 2, 'posjax: no data\n'),
  (Diverged('step 7: loss nan'), 3, 'posjax: step 7: loss nan\n'),
  (MemoryError('9 GiB'), 2, f'posjax: out of memory: 9 GiB; {memory.LESS}\n'),
])
def test_mode_and_exit_code(line, module, raised, code, said, monkeypatch, capsys):
  """Only training may store compiled programs in the work directory."""
  work, keep = mock.Mock(side_effect=raised, return_value=0), mock.Mock()
  stand_in(monkeypatch, module, work)
  monkeypatch.setattr(compile_cache, 'keep', keep)
  assert main.main(['posjax', '--config=rope', *line.split()]) == code
  assert capsys.readouterr().err == said
  (args, kwargs), = work.call_args_list
  run = parse('--config=rope')
  assert args == (run.config, *((run.name, 'v5e', 0) if module == 'plan' else (run.workdir,)))
  assert kwargs == {
    'train': dict(
      name=run.name, import_seconds=mock.ANY, profile=7,
      command=f'python -m posjax.main --workdir={run.workdir}',
    ),
    'plan': {},
    'evaluate': dict(name=run.name, checkpoint='best', command=run.command),
    'generate': dict(checkpoint='7', prompt='abc'),
  }[module]
  assert keep.call_args.args == (run.workdir if module == 'train' else None,)


@pytest.mark.parametrize('number, code, said', [
  (signal.SIGTERM, 42, 'SIGTERM'), (signal.SIGINT, 0, 'Ctrl-C'),
])
def test_a_signal_saves_and_prints_the_command_to_resume(number, code, said, monkeypatch, capfd):
  work = mock.Mock(side_effect=Interrupted(number, saved=12))
  stand_in(monkeypatch, 'train', work)
  monkeypatch.setattr(os, '_exit', sys.exit)
  monkeypatch.setattr(sys, 'orig_argv', ['python', '-m', 'posjax.main', '--config=a b'])
  ignored = mock.Mock()
  monkeypatch.setattr(signal, 'signal', ignored)
  with pytest.raises(SystemExit) as stop:
    main.main(['posjax', '--config=rope'])
  assert stop.value.code == code
  assert capfd.readouterr().err == (
    f"\nnext:   python -m posjax.main '--config=a b'\nposjax: {said}: saved after step 12\n"
  )
  # A second signal comes too late.
  assert {call.args for call in ignored.call_args_list} == {
    (signal.SIGINT, signal.SIG_IGN), (signal.SIGTERM, signal.SIG_IGN),
  }


def test_a_terminal_without_a_letter_prints_a_question_mark(monkeypatch):
  out = io.TextIOWrapper(io.BytesIO(), 'ascii')
  monkeypatch.setattr(sys, 'stdout', out)
  line = '--config=rope --config.data.corpus=text:ü.txt --print_config'
  assert main.main(['posjax', *line.split()]) == 0
  assert b'data.corpus = text:?.txt' in out.buffer.getvalue()


def test_a_broken_pipe_ends_with_exit_code_141():
  reads, writes = os.pipe()
  os.close(reads)
  command = [sys.executable, '-m', 'posjax.main', '--config=rope', '--print_config']
  done = subprocess.run(
    command, cwd=ROOT, stdout=writes, stderr=subprocess.PIPE, text=True, check=False
  )
  os.close(writes)
  assert (done.returncode, done.stderr) == (141, '')


def stand_in(monkeypatch, name, run):
  """Replaces posjax.`name` by a module whose only function is `run`."""
  module = types.SimpleNamespace(run=run)
  monkeypatch.setitem(sys.modules, f'posjax.{name}', module)
  monkeypatch.setattr(posjax, name, module, raising=False)
