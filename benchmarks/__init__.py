"""What things cost, as ratios to others in the same run.

python -m benchmarks steps       an operation, a training step and the import beside NumPy
python -m benchmarks peers       seven networks in every framework that is installed
python -m benchmarks keras       training beside Keras: the same, as accurate, as fast, as light?
python -m benchmarks … --write   and keep the report in benchmarks/results/
"""
