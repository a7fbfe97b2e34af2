"""Conversion of networks from Keras and to Keras.

bridges    `from_keras`, `to_keras`
layers     the table of Keras' layers, their options and our modules
images     where channels must be moved between the first and the last axis
files      `.keras` and `.weights.h5`, read without running code from them
settings   loss, metrics and optimizer of a compiled model
"""
