"""What runs in the sandbox's own processes: standard library only, and nothing of the trainer.

Imports are few, since the zygote's memory is forked for each program.
"""
