"""Reading .xlsx files that people made."""

from collections.abc import Sequence
from pathlib import Path
from zipfile import BadZipFile

Rows = Sequence[tuple[object, ...]]


def read_workbook(file: Path) -> dict[str, Rows]:
    """The rows of each sheet by its name, in their order; ValueError when this is no workbook, OSError as usual."""
    import openpyxl  # here: a fifth of a second that only an import of a file needs
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        book = openpyxl.load_workbook(file, read_only=True, data_only=True)
        return {sheet.title: list(sheet.iter_rows(values_only=True)) for sheet in book.worksheets}
    except (BadZipFile, InvalidFileException, KeyError) as error:
        raise ValueError(str(error)) from error
