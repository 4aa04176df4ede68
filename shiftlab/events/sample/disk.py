"""The file under an HDF5 file that is being written; a full disk is told once all is closed, which HDF5 cannot bear."""

from __future__ import annotations

import io
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["Disk"]


class Disk(io.RawIOBase):
    """A binary file for h5py's driver ``fileobj`` that keeps the first error of a write to itself.

    HDF5 2.0 crashes when it frees the objects of a file whose last write failed. So it is told that every write
    went well; ``check`` and the end of the block raise what did not.
    """

    def __init__(self, path: Path) -> None:
        """Open the file, which is emptied."""
        super().__init__()
        self._file = path.open("w+b", buffering=0)
        self._error: OSError | None = None

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the file.

        Raises:
            OSError: a write failed.
        """
        self._file.close()
        self.check()

    def check(self) -> None:
        """Say whether all was written.

        Raises:
            OSError: a write failed.
        """
        if self._error is not None:
            raise self._error

    def write(self, data: Any) -> int:
        """Write all of the bytes at the file's position, or none from the first error on."""
        left = memoryview(data).cast("B")
        try:
            while len(left) and self._error is None:
                left = left[self._file.write(left) :]
        except OSError as error:
            self._error = error
        return memoryview(data).nbytes

    def readinto(self, buffer: Any) -> int:
        """Read bytes that were written; zeros where they were not."""
        got = self._file.readinto(buffer) or 0
        memoryview(buffer).cast("B")[got:] = bytes(memoryview(buffer).nbytes - got)
        return memoryview(buffer).nbytes

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the file's position."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the file's position."""
        return self._file.tell()

    def truncate(self, size: int | None = None) -> int:
        """Set the file's size."""
        try:
            return self._file.truncate(size)
        except OSError as error:
            self._error = self._error or error
            return size or 0

    def readable(self) -> bool:
        """Say that it is readable."""
        return True

    def writable(self) -> bool:
        """Say that it is writable."""
        return True

    def seekable(self) -> bool:
        """Say that it is seekable."""
        return True
