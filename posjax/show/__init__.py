"""What an encoding does, as numbers, as a picture and as a page: see `__main__`.

probe      the hooks run on the simplest text there is, in float64
facts      everything that is told of one layer
words      the same as text
picture    the same as a picture
page       all of them as one HTML page
"""
