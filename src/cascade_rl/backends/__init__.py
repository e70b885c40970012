"""Engines that train a stage elsewhere; the cascade's order, gates, lineage and scores stay here."""
