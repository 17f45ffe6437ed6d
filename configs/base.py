"""All config keys with their meanings, each defined once. The only argument is the size.

`python -m posjax.main --config=configs/rope.py:small --config.train.steps=500`

The other files in this folder start from this config and choose an encoding. Each section holds the
keyword arguments of the code that reads it; no code reads a key that is not listed here.
"""

from ml_collections import ConfigDict

# tiny: two CPU cores, a minute.  small: one GPU, minutes.  base: about 125 M parameters, one node.
# large: about 1.3 B parameters, a pod; only compiled so far (--dry_run).
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

  config.seed = 0  # of the weights, the order of the data and dropout

  config.encoding = dict(
    # Encodings of the layers, a pattern tiled over the depth. The arguments of an encoding are
    # the section with its name: encoding.rope.base. See configs/rope.py.
    layers=('nope',),
  )

  config.model = dict(
    dim=0,  # width D
    layers=0,  # depth L, a multiple of the pattern's length
    heads=0,  # query heads N
    kv_heads=0,  # key and value heads K; N is a multiple of it
    head_dim=0,  # head size H
    hidden=0,  # width F between the two matrices of the MLP
    norm=dict(
      kind='rmsnorm',  # or 'layernorm'
      eps=1e-6,  # added to the variance
      offset=0.0,  # the scale is offset + weight
      where=('before',),  # 'before' a sublayer, on what it 'added', 'after' the sum (post-norm)
    ),
    mlp=dict(
      gated=True,  # multiply with the activation of a second matrix: SwiGLU with silu
      activation='silu',  # or 'gelu' (exact), 'gelu_tanh', 'relu'
    ),
    embedding=dict(
      scale=0.0,  # factor on token embeddings; 0: the root of dim
      norm=False,  # a norm after embeddings and absolute positions
      types=0,  # rows of a table of token types; 0: none
    ),
    head=dict(
      tied=True,  # the output head is the token table; False: a separate matrix
      layer=False,  # a dense layer, the activation and a norm before the head
      scale=1.0,  # factor on the inputs of the head
    ),
    # Of 'norm' (LayerNorm), query, key, value, output, up, gate, down, head, and 'input' (vectors).
    biases=('norm',),
    query_scale=0.0,  # factor on queries; 0: head_dim**-0.5
    dropout=0.0,  # rate, on the embeddings and on the output of each attention and MLP
    windows=(0,),  # keys a query sees, itself included, in each layer of the pattern; 0: all
    # Positions of a chunk, on every axis, in each layer of the pattern; its tokens see no others.
    chunks=(0,),  # 0: all
    shifts=(0,),  # positions missing from the first chunk, in each layer of the pattern
    remat=False,  # recompute each group of layers in the backward pass to save memory
    dtype='float32',  # of the computation, or 'bfloat16'; weights are always float32
    # 'auto': the task's default; 'decoder': a token sees no later token; 'encoder': it does;
    # 'encoder_decoder': a decoder whose tokens also see the outputs of an encoder of a source.
    form='auto',
    layer='attention',  # or a recurrent baseline without positions: 'lstm', 'gru', 'rnn'
    encoder=('same',),  # encodings of the encoder's layers, like encoding.layers; 'same': these
    cross=('nope',),  # encoding of the attention to the encoder's outputs
  )

  # The task to learn. Its arguments are the section with its name: task.text.stride. See
  # posjax/tasks and configs/tasks.
  config.task = dict(name='text')

  config.attention = dict(
    implementation='auto',  # or 'reference', 'blockwise', 'fused': see posjax/attention
    block=128,  # queries and keys in one block of 'blockwise'
  )

  config.data = dict(  # the text, for tasks that read text
    # 'tfds:NAME', a TFDS dataset; 'text:GLOB', local files, one document each; 'jsonl:GLOB' or
    # 'csv:GLOB' or 'parquet:GLOB', records in local files, one document each; 'package:NAME', a
    # pinned text. Tasks with labels read records; see docs/data.md.
    corpus='tfds:python_source',
    fields=('text',),  # fields of a record whose texts, joined by newlines, are the document
    tokenizer='bytes',  # or the path of a tokenizer.json; see python -m posjax.data tokenize
    directory='~/tensorflow_datasets',  # where prepared TFDS datasets are kept
    # Splits. tfds: expressions such as 'train[:95%]'. text: and package: cut each document after a
    # newline into 'train', its first 90 %, 'validation', 5 %, and 'test', the last 5 %. jsonl: and
    # parquet: draw 5 % of the records for 'validation' and 5 % for 'test', at random by their
    # number, the same in every run; all other records are 'train'.
    train='train',  # the split to train on
    validation='validation',  # the split that chooses the best checkpoint
    test='test',  # the split to report
  )

  config.train = dict(
    steps=0,  # updates of the weights
    batch=0,  # rows in a step, over all devices and microbatches
    length=0,  # tokens in a row: the training length
    accumulate=1,  # microbatches per step: less memory, the same result but for random draws
    max_skipped=0,  # non-finite steps to skip before stopping
    log_every=10,  # steps per line of metrics.jsonl
  )

  config.optimizer = dict(
    learning_rate=0.0,  # peak learning rate
    warmup=0,  # steps from 0 to the peak
    schedule='cosine',  # or 'wsd': warm-up, stable, linear decay
    decay=0.2,  # share of the steps in which 'wsd' decays
    final=0.1,  # learning rate at the end, as a share of the peak
    b1=0.9,  # AdamW: decay of the running mean of gradients
    b2=0.95,  # AdamW: decay of the running mean of squared gradients
    eps=1e-8,  # AdamW: added to the root of that mean
    weight_decay=0.1,  # of matrices; not of scalars, norms and tables of encodings
    clip=1.0,  # largest global norm of the gradients
  )

  # Start from the weights of another run, with any encoding, layer by layer.
  config.init = dict(
    run='',  # its work directory; '': random weights
    checkpoint='newest',  # or 'best', or a step
    fresh='',  # weights not to take, such as 'encoding/*,head_DV'
    frozen='',  # weights not to train, such as 'table_VD,layers/*/mlp/*'
    vectors='',  # a file of word vectors: the rows of the token table whose tokens are its words
    source='',  # digest of that checkpoint and of the vectors; filled in automatically
  )

  # Where metrics go in addition to metrics.jsonl: 'tensorboard', 'wandb'; () for none.
  config.writers = ('tensorboard',)

  config.mesh = dict(  # devices along each axis; -1: all remaining devices
    data=-1,  # shards rows
    fsdp=1,  # shards rows, and weights by their width
    seq=1,  # shards tokens: ring attention, for rows that one device cannot hold
    tensor=1,  # shards heads, and the MLP's width
  )

  config.checkpoint = dict(
    every=250,  # steps between checkpoints; each stores its validation loss
    keep=2,  # how many of the newest to keep; the best is kept, too
  )

  config.evaluate = dict(
    multiples=(1.0, 2.0, 4.0, 8.0),  # test lengths, as multiples of the training length
  )

  config.generate = dict(
    seed=0,  # of sampling; not part of the run's identity
    samples=1,  # continuations of the prompt, generated as one batch
    tokens=256,  # most tokens to generate
    # Strings that end a sample, separated by commas and not printed: '\ndef ,\nclass '. Python's
    # escapes are read, so that a shell can pass '\n' for a newline, '\x2c' for a comma.
    stop='',
    temperature=0.8,  # 0: greedy
    top_k=0,  # sample from the k likeliest tokens; 0: all
    top_p=1.0,  # sample from the likeliest tokens that together have this probability
    beams=1,  # of beam search, for the texts that a task scores; 1: greedy
    length_penalty=0.6,  # of beam search: 0 prefers short texts, larger values longer ones
  )

  for section, values in SIZES[size].items():
    config[section].update(values)
  return config
