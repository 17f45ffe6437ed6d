"""Shows what an encoding does, as numbers, a picture and an HTML page: see `__main__`.

probe      runs the hooks on a text of equal tokens, in float64
facts      all numbers shown for one layer
words      the facts as text
picture    the facts as a picture
page       all encodings as one HTML page
"""
