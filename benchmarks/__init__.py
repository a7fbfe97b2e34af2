"""Measurements of time and memory, as ratios to other implementations in the same run.

python -m benchmarks steps       an operation, a training step and the import beside NumPy
python -m benchmarks peers       seven networks in every framework that is installed
python -m benchmarks sweeps      the time of a step over batch size, width, depth and dtype
python -m benchmarks parts       how a step divides: products, other array work, calls
python -m benchmarks ops         what every operation costs, recorded and with its backward
python -m benchmarks cold        from a cold process to the chapter's network trained
python -m benchmarks memory      the peak of an epoch over the data itself
python -m benchmarks feeding     ways to bring the batches of an epoch to the network
python -m benchmarks all         all of these; and apart from them:
python -m benchmarks keras       training beside Keras: the same, as accurate, as fast, as light?
python -m benchmarks … --write   and keep the report in benchmarks/results/
"""
