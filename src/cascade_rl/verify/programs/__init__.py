"""Programs and functions of a reply: found in it, run on calls, compared with what is expected."""
