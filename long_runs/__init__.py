"""Long runs: what takes minutes or hours to show. `python3 long_runs/run.py --help`; docs/long_runs.md holds the figures."""
