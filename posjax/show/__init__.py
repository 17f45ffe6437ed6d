"""Shows what an encoding does, as numbers, a picture and an HTML page: see `__main__`.

probe            runs the hooks on a text or a grid of equal tokens, in float64
frequencies      measures how fast positions rotate planes
facts            all numbers shown for one layer, on a text
grid             all numbers shown for one layer, on a grid
words            the facts as text; grid_words, those of a grid
picture          the facts as a picture; grid_picture, those of a grid
page             all encodings as one HTML page
trained          attention weights of a trained run; trained_words, trained_picture
"""
