"""Networks from Keras, and to it.

bridges    `from_keras`, `to_keras`
layers     which layer of Keras is which of ours, with its options
images     which order of channels, rows and columns each layer sees
files      `.keras` and `.weights.h5`, read without running anything that is in them
settings   loss, metrics and optimizer of a compiled model
"""
