"""`python -m cascade_rl.cli` is `cascade`."""

from cascade_rl.cli.main import main

main()
