"""One view of where a source's files are: a folder or a zip, on this machine or anywhere fsspec reaches."""

import io
import os
import zipfile
from functools import cached_property, lru_cache
from pathlib import PurePosixPath
from typing import IO

import fsspec

from orchestrion.errors import UserError


class Store:
    """The files of a folder or a zip, by their path within it.

    address: a path or an fsspec address (`gs://…`, `s3://…`, `hf://…`). Pickles as its address alone, so
    that a worker on another machine opens its own.
    """

    def __init__(self, address: str | os.PathLike[str]) -> None:
        self.address = os.fspath(address)
        if "://" not in self.address:
            self.address = os.path.abspath(os.path.expanduser(self.address))

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return open_store, (self.address,)

    @property
    def name(self) -> str:
        """The folder's or the zip's own name, without `.zip`."""
        name = PurePosixPath(self.address.rstrip("/")).name
        return name[:-4] if name.lower().endswith(".zip") else name

    @cached_property
    def _place(self) -> tuple[fsspec.AbstractFileSystem, str]:
        try:
            return fsspec.core.url_to_fs(self.address)
        except (ValueError, ImportError) as error:
            raise UserError(f"{self.address} can't be opened: {error}") from error

    @cached_property
    def _zip(self) -> zipfile.ZipFile | None:
        """None for a folder. Raises UserError where there is neither."""
        system, root = self._place
        if system.isdir(root):
            return None
        if not system.exists(root):
            raise UserError(f"there is nothing at {self.address}: give a folder or a zip of audio or MIDI")
        try:
            return zipfile.ZipFile(system.open(root, "rb"))
        except (zipfile.BadZipFile, OSError) as error:
            raise UserError(
                f"{self.address} is neither a folder nor a whole zip ({error}): "
                "download it again, or put your files into a folder and give that"
            ) from error

    @cached_property
    def sizes(self) -> dict[str, int]:
        """Bytes of every file, by its path, in the order of their paths."""
        if self._zip:
            found = {info.filename: info.file_size for info in self._zip.infolist() if not info.is_dir()}
        else:
            system, root = self._place
            found = {
                os.path.relpath(path, root).replace(os.sep, "/"): int(info.get("size") or 0)
                for path, info in system.find(root, detail=True).items()
            }
        return dict(sorted(found.items()))

    def open(self, name: str) -> IO[bytes]:
        """A seekable file. Raises OSError, or zipfile.BadZipFile in a zip, where it can't be read."""
        if self._zip:
            return io.BytesIO(self._zip.read(name))  # a member can't seek back without unpacking it anew
        system, root = self._place
        return system.open(f"{root.rstrip('/')}/{name}", "rb")

    def read(self, name: str) -> bytes:
        with self.open(name) as file:
            return file.read()

    def text(self, name: str) -> str:
        return self.read(name).decode("utf-8-sig", errors="replace")

    def words(self, name: str) -> str:
        """A text that is to be learned from as it is. Raises UserError where it is none."""
        try:
            return self.read(name).decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UserError(f"{name} is no UTF-8 text: save it as one, or take it out") from error


@lru_cache(maxsize=8)
def open_store(address: str) -> Store:
    """A worker's store: opened once, however many pieces it is asked for."""
    return Store(address)
