"""Pictures of a recorded graph, and a table of a model.

picture    `picture`: what a picture of a recorded graph shows
layout     the positions of boxes and lines
drawing    the picture as SVG and as DOT
summary    `summary`: a table of a model's layers and their costs
"""
