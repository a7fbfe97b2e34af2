"""Looking at a graph and at a model.

picture    `picture`: what is shown of a recorded graph
layout     where boxes and lines go
drawing    the same as SVG and as DOT
summary    `summary`: a table of a model's layers, and what they cost
"""
