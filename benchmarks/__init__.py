"""Measurements of time and memory, as ratios to other implementations in the same run.

python -m benchmarks steps       an operation, a training step and the import, with NumPy
python -m benchmarks peers       seven networks in every framework that is installed
python -m benchmarks sweeps      the time of a step over batch size, width, depth and dtype
python -m benchmarks parts       how a step divides: products, other array work, calls
python -m benchmarks ops         the cost of every operation, with its backward pass
python -m benchmarks cold        from a cold start to the chapter's trained network
python -m benchmarks memory      the peak memory of an epoch, without the data
python -m benchmarks feeding     ways to pass the batches of an epoch to the network
python -m benchmarks all         all of the above; and separately:
python -m benchmarks keras       training compared with Keras: results, accuracy, speed, memory
python -m benchmarks … --write   and save the report in benchmarks/results/
"""
