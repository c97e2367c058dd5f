"""Errors a user can cause, each with the exit code the command line promises."""

from __future__ import annotations

UNUSABLE = 2  # the exit code of wrong usage, unusable input and troubles of the system
UNFORESEEN = 70  # the exit code of an error that nobody foresaw: EX_SOFTWARE of sysexits.h
INTERRUPTED = 130  # the exit code of what a user stopped, as shells have it


class TiankongError(Exception):
    """An error shown to the user as one line; the process ends with ``exit_code``."""

    exit_code = UNUSABLE


class UnusableInputError(TiankongError):
    """Wrong usage or input that cannot be used (exit code 2)."""


class GateFailedError(TiankongError):
    """A variant did not keep its promise, or a regression was found (exit code 1)."""

    exit_code = 1


class BrokenVariantError(GateFailedError):
    """A variant loads but gives no usable scores (exit code 1)."""


class InvalidMeasurementError(TiankongError):
    """The measurement is invalid or inconclusive (exit code 3)."""

    exit_code = 3
