"""Run the simulator exchange: ``python -m tidemark.local.simulator --help``."""

import typer

from tidemark.local.simulator.command import simulate

if __name__ == "__main__":
    typer.run(simulate)
