"""``python -m taihusim`` is the command ``taihusim``."""

from taihusim.cli import main

if __name__ == "__main__":
    main(prog_name="taihusim")
