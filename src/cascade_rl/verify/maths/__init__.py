"""Is the boxed answer the gold one? `answers` begins; algebra is left to `algebra`, which may be killed."""
