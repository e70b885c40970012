"""What the journals of a run say, told to trackers as they are written, by processes of their own.

The files of the run directory are the only source. Training knows nothing of it: a tracker that fails, hangs
or is killed costs the run nothing, and what it missed can be sent later.
"""
