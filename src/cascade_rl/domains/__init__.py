"""One file is one domain; see `cascade_rl.domain`."""

from cascade_rl.domain import domain_names, load_domain

__all__ = ["domain_names", "load_domain"]
