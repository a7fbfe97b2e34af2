"""Training with Keras' names and Keras' arithmetic.

fitting     `fit`, `evaluate`, `predict`, and the loop under them
callbacks   what happens beside training: early stopping, checkpoints, logs
metrics     what it is measured by, also under the names that Keras gives
history     what was measured, epoch by epoch, and its picture
progress    the bar on a terminal
"""
