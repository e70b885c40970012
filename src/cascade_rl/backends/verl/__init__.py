"""verl on Ray trains a stage: compile, check, launch, watch, export; verl itself is never imported here."""
