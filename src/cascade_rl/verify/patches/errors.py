"""Why a patch can't be used: one exception for each reason, shared by edits and diffs."""

from __future__ import annotations


class PatchError(ValueError):
    """The patch can't be used; each subclass is one reason."""


class Unparseable(PatchError):
    """There is no edit, or one is not well-formed."""


class UnknownFile(PatchError):
    """The patch names a file that is not there."""


class UnsafePath(PatchError):
    """The patch names a path outside the repository, or one that no file can have."""


class FileExists(PatchError):
    """The patch makes a file that is there already."""


class NoMatch(PatchError):
    """The lines to be replaced don't stand in the file."""


class SeveralMatches(PatchError):
    """The lines to be replaced stand in the file more than once."""


class Overlap(PatchError):
    """Two edits claim the same lines, or two sections of a diff the same file."""


class NoChange(PatchError):
    """The patch leaves every file as it was."""


# Not a PatchError, or a grader that forgives patches would blame the reply for the problem's fault.
class GoldenError(ValueError):
    """The golden patch itself can't be used, so nothing can be judged by it."""
