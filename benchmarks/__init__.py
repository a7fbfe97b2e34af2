"""What recording and sweeping back cost, as ratios to NumPy in the same run.

python -m benchmarks             measure, and print the table
python -m benchmarks --write     and keep it in benchmarks/results/
"""
