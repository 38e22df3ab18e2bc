"""A workbook as its XML says it, for tests of what a cell really holds."""

import io
import re
import xml.etree.ElementTree as ET
import zipfile

MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"


class Book:
    """A workbook as its XML says it: cells by tab and place, as (type, formula, value)."""

    def __init__(self, content: bytes):
        self.archive = zipfile.ZipFile(io.BytesIO(content))
        strings = ET.fromstring(self.archive.read("xl/sharedStrings.xml"))
        self.strings = ["".join(part.text or "" for part in each.iter(f"{MAIN}t")) for each in strings]
        sheets = ET.fromstring(self.archive.read("xl/workbook.xml")).find(f"{MAIN}sheets")
        self.names = [sheet.get("name") for sheet in sheets]

    def cells(self, tab: str) -> dict[str, tuple[str, str | None, str]]:
        sheet = ET.fromstring(self.archive.read(f"xl/worksheets/sheet{self.names.index(tab) + 1}.xml"))
        found = {}
        for cell in sheet.iter(f"{MAIN}c"):
            value, formula = cell.find(f"{MAIN}v"), cell.find(f"{MAIN}f")
            if value is None:
                continue
            text = self.strings[int(value.text)] if cell.get("t") == "s" else value.text
            found[cell.get("r")] = (cell.get("t", "n"), None if formula is None else formula.text, text)
        return found

    def rows(self, tab: str) -> list[list[str]]:
        lines: dict[int, list[str]] = {}
        for place, (_, _, text) in self.cells(tab).items():
            lines.setdefault(int(re.sub(r"\D", "", place)), []).append(text)
        return [lines[number] for number in sorted(lines)]
