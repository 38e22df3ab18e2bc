"""A file as the text that a person could read out of it, for tests that look for what may not be there."""

import gzip
import io
import zipfile
from pathlib import Path

import pyarrow.parquet as pq
import pypdf


def text_of(name: str, content: bytes) -> str:
    """The text of a file's bytes: Parquet, workbooks, PDF and archives unpacked, anything else as it is."""
    kind = Path(name).suffix
    if kind == ".parquet":
        return str(pq.read_table(io.BytesIO(content)).to_pylist())
    if kind == ".xlsx":
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            return "\n".join(archive.read(part).decode("utf-8") for part in archive.namelist())
    if kind == ".pdf":
        reader = pypdf.PdfReader(io.BytesIO(content))
        return "\n".join([str(reader.metadata), *(page.extract_text() for page in reader.pages)])
    if kind == ".gz":
        return gzip.decompress(content).decode("utf-8", errors="replace")
    return content.decode("latin1")
