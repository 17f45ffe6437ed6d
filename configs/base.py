"""Every key of every config, once, with its meaning. The sizes are the only argument.

`python -m posjax.main --config=configs/rope.py:small --config.train.steps=500`

The other files of this folder take this config and name an encoding. Sections are the keyword
arguments of the code that reads them, and nothing is read that does not stand here.
"""

from ml_collections import ConfigDict

# tiny: two CPU cores, a minute.  small: one GPU, minutes.  base: about 125 M parameters, one node.
# large: about 1.3 B parameters, a pod; here it is compiled only (--dry_run).
SIZES = {
  'tiny': dict(
    model=dict(dim=64, layers=2, heads=4, kv_heads=4, head_dim=16, hidden=192),
    train=dict(steps=1000, batch=16, length=64),
    optimizer=dict(learning_rate=3e-3, warmup=100),
  ),
  'small': dict(
    model=dict(dim=512, layers=8, heads=8, kv_heads=8, head_dim=64, hidden=1408, dtype='bfloat16'),
    train=dict(steps=10_000, batch=64, length=512),
    optimizer=dict(learning_rate=1e-3, warmup=500),
  ),
  'base': dict(
    model=dict(
      dim=768, layers=18, heads=12, kv_heads=12, head_dim=64, hidden=2048, dtype='bfloat16',
      remat=True,
    ),
    train=dict(steps=50_000, batch=256, length=1024),
    optimizer=dict(learning_rate=6e-4, warmup=2000),
  ),
  'large': dict(
    model=dict(
      dim=2048, layers=26, heads=16, kv_heads=16, head_dim=128, hidden=5504, dtype='bfloat16',
      remat=True,
    ),
    train=dict(steps=100_000, batch=512, length=2048),
    optimizer=dict(learning_rate=2e-4, warmup=2000),
  ),
}


def get_config(size='tiny'):
  config = ConfigDict()

  config.seed = 0  # weights, order of the data and dropout

  config.encoding = dict(
    # Encodings of the layers, a pattern tiled over the depth. An encoding's own arguments are a
    # section of its name: encoding.rope.base. See configs/rope.py.
    layers=('nope',),
  )

  config.model = dict(
    dim=0,  # width D
    layers=0,  # depth L, a multiple of the length of the pattern
    heads=0,  # query heads N
    kv_heads=0,  # key and value heads K; N is a multiple of it
    head_dim=0,  # head size H
    hidden=0,  # width F between the two matrices of the MLP
    norm='rmsnorm',  # or 'layernorm'
    activation='swiglu',  # or 'gelu'
    tied=True,  # the output head is the token table; False: a matrix of its own
    dropout=0.0,  # of the embeddings and of what each half block adds
    windows=(0,),  # keys a query sees in each layer of the pattern, itself included; 0: all
    chunks=(0,),  # tokens of a text that see each other, in each layer of the pattern; 0: all
    remat=False,  # recompute each group of layers in the backward pass, not store it
    dtype='float32',  # of the computation, or 'bfloat16'; weights are float32 always
    form='auto',  # the task's first; or 'decoder': tokens see no later ones, 'encoder': they do
  )

  # What is learned. A task's own arguments are a section of its name: task.text.stride. See
  # posjax/tasks and configs/tasks.
  config.task = dict(name='text')

  config.attention = dict(
    implementation='auto',  # or 'reference', 'blockwise', 'fused': see posjax/attention
    block=128,  # queries and keys in one block of 'blockwise'
  )

  config.data = dict(  # text, for tasks that read some
    # A TFDS dataset 'tfds:NAME'; local files, each a document: 'text:GLOB'; records in local files,
    # each a document: 'jsonl:GLOB' or 'parquet:GLOB'; or a pinned text 'package:NAME'.
    corpus='tfds:python_source',
    fields=('text',),  # of a record: its document is the text in them, joined by newlines
    directory='~/tensorflow_datasets',  # where prepared TFDS datasets are kept
    # Splits: TFDS expressions such as 'train[:95%]'. Of text: and package:, each document is cut
    # after a newline into 'train', its first 90 %, 'validation', 5 %, and 'test', the last 5 %. Of
    # jsonl: and parquet:, 5 % of the records are 'validation', 5 % 'test', drawn at random by their
    # number, the same in every run; the others are 'train'.
    train='train',  # the split to train on
    validation='validation',  # to choose the best checkpoint by
    test='test',  # to report
  )

  config.train = dict(
    steps=0,  # updates of the weights
    batch=0,  # rows in a step, over all devices and microbatches
    length=0,  # tokens in a row: the training length
    accumulate=1,  # microbatches in a step, in turn: less memory, the same but for random draws
    max_skipped=0,  # non-finite steps to skip before stopping
    log_every=10,  # steps between two lines of metrics.jsonl
  )

  config.optimizer = dict(
    learning_rate=0.0,  # at the peak
    warmup=0,  # steps from 0 to the peak
    schedule='cosine',  # or 'wsd': warm-up, stable, linear decay
    decay=0.2,  # share of the steps in which 'wsd' decays
    final=0.1,  # learning rate at the end, as a share of the peak
    b1=0.9,  # AdamW: how much of the mean of gradients is kept in a step
    b2=0.95,  # of the mean of their squares
    eps=1e-8,  # added to the root of that
    weight_decay=0.1,  # of matrices; scalars, norms and tables of encodings are not decayed
    clip=1.0,  # largest global norm of the gradients
  )

  # Start from the weights of another run, of whatever encoding, layer by layer.
  config.init = dict(
    run='',  # its work directory; '': from random weights
    checkpoint='newest',  # or 'best', or a step
    fresh='',  # weights that are not taken, such as 'encoding/*,head_DV'
    frozen='',  # weights that are not trained, such as 'table_VD,layers/*/mlp/*'
    source='',  # digest of that checkpoint, which is filled in
  )

  # Where metrics go in addition to metrics.jsonl: 'tensorboard', 'wandb'; () for none.
  config.writers = ('tensorboard',)

  config.mesh = dict(  # devices along each axis; -1: all that are left
    data=-1,  # rows
    fsdp=1,  # rows, and weights by their width
    tensor=1,  # heads, and the MLP's width
  )

  config.checkpoint = dict(
    every=250,  # steps between two checkpoints; each carries its validation loss
    keep=2,  # newest ones that are kept; the best is kept, too
  )

  config.evaluate = dict(
    multiples=(1, 2, 4, 8),  # lengths, as multiples of the training length
  )

  config.generate = dict(
    seed=0,  # of sampling; no part of the run
    samples=1,  # continuations of the prompt, made together
    tokens=256,  # to generate, at most
    # Strings that end a sample, not printed themselves, with commas between: '\ndef ,\nclass '.
    # Python's escapes are read, so that a shell can pass '\n' for a newline, '\x2c' for a comma.
    stop='',
    temperature=0.8,  # 0: greedy
    top_k=0,  # sample among the k likeliest only; 0: all
    top_p=1.0,  # sample among the likeliest that hold this probability together
  )

  for section, values in SIZES[size].items():
    config[section].update(values)
  return config
