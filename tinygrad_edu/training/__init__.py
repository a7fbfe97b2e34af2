"""Training with Keras' names and Keras' arithmetic.

fitting     `fit`, `evaluate`, `predict`
loop        epochs, batches, Ctrl-C: the loop under `fit` and under the chapter's networks
callbacks   what happens beside training: early stopping, checkpoints, logs
metrics     what it is measured by, also under the names that Keras gives
history     what was measured, epoch by epoch, and its picture
progress    the bar on a terminal
"""
