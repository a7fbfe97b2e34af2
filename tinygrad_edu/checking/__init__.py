"""Checks of operations and layers that you write.

rules       `check_rule`: an operation and its rules on inputs of many kinds
gradients   `gradcheck`: a gradient compared with measured slopes
slopes      the measurement: finite differences and the complex step
guessing    a guess at the mistake
layouts     arrays with unusual memory layouts
testing     `check_layer`: properties that every layer must have
"""
