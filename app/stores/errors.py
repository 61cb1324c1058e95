"""What a store fails with.

    StoreError
    ├── StoreUnavailable          nobody can say whether the command ran; the caller takes its fallback
    ├── StoreReplyError           the store ran the command and called it wrong: a defect of ours
    └── StoreConfigurationError   the URL is wrong, or names something that is not built

Law: no message holds a URL, a password or a payload.
"""


class StoreError(Exception):
    """The store failed."""


class StoreUnavailable(StoreError):
    """The store did not answer, or answered that it cannot serve now (loading, read-only, out of memory).

    The command may have run, unless `may_have_run` is false: only one that is idempotent by an id may be sent again.
    """

    def __init__(self, message: str, *, code: str | None = None, may_have_run: bool = True) -> None:
        """Make an error; `code` is the first word of the store's own refusal, absent when it said nothing."""
        super().__init__(message)
        self.code = code
        self.may_have_run = may_have_run


class StoreReplyError(StoreError):
    """The store answered with an error; `code` is its first word, such as `WRONGTYPE`."""

    def __init__(self, message: str) -> None:
        """Make an error of the store's own sentence."""
        super().__init__(message)
        self.code = message.partition(" ")[0]


class StoreConfigurationError(StoreError):
    """The store's URL is wrong, or names something that is not built."""
