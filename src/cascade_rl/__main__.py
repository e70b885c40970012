"""`python -m cascade_rl` is `cascade`."""

from cascade_rl.cli.main import main

main()
