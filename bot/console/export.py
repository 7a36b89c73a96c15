"""Tables as files for a spreadsheet program, in which nobody's words become a formula."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import dataclass

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")  # the wide ones count in Chinese Excel
_NO_TEXT = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff￾￿]")  # what XML has no place for
_CELL_CHARACTERS = 32_767  # Excel's limit
_WIDTHS = (20, 10, 16, 14, 10, 14, 80, 18, 20)


@dataclass(frozen=True, slots=True)
class Table:
    """Lines that say what this is, then columns and rows."""

    head: Sequence[tuple[str, str]]
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


def harmless(text: str) -> str:
    """The text so that a spreadsheet shows it and does not run it (OWASP: CSV injection)."""
    text = _NO_TEXT.sub("", text)
    return f"'{text}" if text.lstrip(" ").startswith(_FORMULA_STARTS) else text


def as_csv(table: Table) -> bytes:
    """UTF-8 with the mark that Excel needs to see that it is."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\r\n")
    for line in (*table.head, (), table.columns, *table.rows):
        writer.writerow([harmless(cell) for cell in line])
    return file.getvalue().encode("utf-8-sig")


def as_xlsx(table: Table) -> bytes:
    """One sheet; all cells are text."""
    from openpyxl import Workbook  # here: a fifth of a second that the start need not wait for
    from openpyxl.styles import Alignment, Font

    book = Workbook()
    book.remove(book.worksheets[0])
    sheet = book.create_sheet("导出")
    for line in (*table.head, (), table.columns, *table.rows):
        sheet.append([harmless(cell)[:_CELL_CHARACTERS] for cell in line])
    for cell in sheet[len(table.head) + 2]:
        cell.font = Font(bold=True)
    for n, width in enumerate(_WIDTHS[: len(table.columns)]):
        sheet.column_dimensions[chr(ord("A") + n)].width = width
    for row in sheet.iter_rows(min_row=len(table.head) + 3, min_col=7, max_col=7):
        row[0].alignment = Alignment(wrap_text=True, vertical="top")
    sheet.freeze_panes = f"A{len(table.head) + 3}"
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()
