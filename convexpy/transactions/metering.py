"""What a transaction has used of its bounds, and the refusal to use more.

Counted is what functions do. Rows of the platform's tables are bounded by what they stand for, and a transaction that
is `is_unlimited` does the platform's own work.
"""

from __future__ import annotations

from msgspec import Struct

from convexpy.errors import LimitExceeded
from convexpy.limits import SMALL_TRANSACTION_SHARE, FunctionLimits
from convexpy.transactions.catalog_entries import TableInfo
from convexpy.transactions.read_set import ReadSet
from convexpy.transactions.write_set import WriteSet


class Usage(Struct):
    """What a transaction has used of its limits."""

    documents_read: int = 0
    bytes_read: int = 0


class MeteredTransaction:
    """A read set and a write set with their bounds.

    `limits` and `is_unlimited` may be changed while it runs: a nested call has narrower bounds, the platform has none.
    """

    def __init__(self, limits: FunctionLimits) -> None:
        self.limits = limits
        self.usage = Usage()
        self.is_unlimited = False
        self._reads = ReadSet()
        self._writes = WriteSet()
        self._ranges_before = self._bytes_before = 0  # of functions that had bounds of their own

    @property
    def is_small(self) -> bool:
        """Whether all of its functions together are far from the bounds of one."""
        limits, writes = self.limits, self._writes
        return (
            self._reads.range_count < limits.ranges_read * SMALL_TRANSACTION_SHARE
            and writes.writes_so_far < limits.documents_written * SMALL_TRANSACTION_SHARE
            and self._bytes_before + writes.bytes_written < limits.bytes_written * SMALL_TRANSACTION_SHARE
        )

    @property
    def documents_written(self) -> int:
        return self._writes.documents_written

    @property
    def bytes_written(self) -> int:
        return self._writes.bytes_written

    @property
    def ranges_opened(self) -> int:
        """Ranges and single documents looked at so far, each time counted: never below `ranges_read`."""
        return self._reads.range_count - self._ranges_before

    @property
    def ranges_read(self) -> int:
        """Disjoint ranges and single documents looked at so far."""
        return max(0, self._reads.merged_count - self._ranges_before)

    def restart_usage(self) -> None:
        """Begin with nothing used, for another function of the same transaction."""
        self.usage = Usage()
        self._ranges_before = self._reads.range_count
        self._bytes_before += self._writes.bytes_written
        self._writes.restart_count()

    # --- refusals

    def _check_read_limits(self, size: int) -> None:
        """Refuse to read one document more."""
        limits, usage = self.limits, self.usage
        if usage.documents_read >= limits.documents_read:
            raise LimitExceeded(
                f"Too many documents read in a single function execution (limit: {limits.documents_read}). "
                f"Consider using smaller limits in your queries, paginating your queries, or using indexed queries "
                f"with a selective index range expression."
            )
        if usage.bytes_read + size > limits.bytes_read:
            raise LimitExceeded(
                f"Too many bytes read in a single function execution (limit: {limits.bytes_read} bytes). "
                f"Consider using smaller limits in your queries, paginating your queries, or using indexed queries "
                f"with a selective index range expression."
            )

    def _check_range_count(self) -> None:
        most = self.limits.ranges_read + self._ranges_before
        # Counted roughly first: to merge what was read costs more than to read.
        if self._reads.range_count > most and not self.is_unlimited and self._reads.merged_count > most:
            raise LimitExceeded(
                f"Too many reads in a single function execution (limit: {self.limits.ranges_read}). "
                f"Read neighbouring documents with one index range instead of one by one."
            )

    def _check_write_limits(self, table: TableInfo, size: int) -> None:
        """Refuse one write more, before it is made: a function that catches the error has not got round the bound."""
        if self.is_unlimited or table.is_system:
            return
        limits, writes = self.limits, self._writes
        if writes.documents_written >= limits.documents_written:
            raise LimitExceeded(
                f"Too many writes in a single function execution (limit: {limits.documents_written}). "
                f"Split the work over several mutations, for example with ctx.scheduler.run_after(0, …)."
            )
        if writes.bytes_written + size > limits.bytes_written:
            raise LimitExceeded(
                f"Too many bytes written in a single function execution (limit: {limits.bytes_written} bytes). "
                f"Split the work over several mutations, for example with ctx.scheduler.run_after(0, …)."
            )
