"""Colors and fonts of the pictures; readable for color-blind people and in gray."""

WIDTH = 10.0  # inches, of a figure
INK, FAINT, MARK = '#1f2933', '#7b8794', '#c2410c'
UNSEEN = '#e4e8ec'  # pairs that attention masks
HEADS = '#0b2545', '#1565c0', '#00897b', '#b8860b'  # colors from the first head to the last
STYLE = {
  'font.size': 9, 'axes.edgecolor': FAINT, 'axes.labelcolor': INK, 'text.color': INK,
  'xtick.color': FAINT, 'ytick.color': FAINT, 'axes.spines.top': False, 'axes.spines.right': False,
  'axes.titlesize': 9.5, 'axes.titlelocation': 'left', 'text.parse_math': False,
  'axes.formatter.useoffset': False,
}
