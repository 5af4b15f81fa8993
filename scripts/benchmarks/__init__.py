"""The benchmarks behind `./scripts/bench`: one module for each part, and the load client and processes they share."""
