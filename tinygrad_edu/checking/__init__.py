"""Checking operations and layers that somebody has written.

rules       `check_rule`: an operation and its rules on inputs of many kinds
gradients   `gradcheck`: a gradient against slopes that were measured
slopes      the measuring: finite differences and the complex step
guessing    a guess at the mistake
layouts     arrays that lie oddly in memory
testing     `check_layer`: what must hold for every layer
"""
