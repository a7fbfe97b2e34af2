"""Explain: the derivation of a gradient, read from the recorded graph, printed and checked.

explanation   `explain`: forward lines, gradients, steps, and the check of each
tracing       run a loss, twice, and keep what a derivation needs
reading       from the recorded graph to index notation
algebra       index notation and its simplification
matrices      from index notation back to matrices
notation      the tree of a formula as text, LaTeX, shapes, NumPy code
"""
