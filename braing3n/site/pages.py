"""HTML pages from the templates of this folder: values are escaped, style and scripts lie inside."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined

FOLDER = Path(__file__).parent
IMAGE_TYPES = {".jpg": "image/jpeg", ".png": "image/png"}


def render(template: str, **values: object) -> str:
    """A page as one text.

    Raises:
        jinja2.UndefinedError: the template shows a value that is not given.
    """
    return ENVIRONMENT.get_template(template).render(values)


def render_card(**values: object) -> str:
    """A model card in Markdown; what stands in a table's cell cannot end it.

    Raises:
        jinja2.UndefinedError: as in `render`.
    """
    return CARDS.get_template("model_card.md").render(values)


def stream(template: str, **values: object) -> Iterator[str]:
    """A page in pieces, for one of many rows: of an iterator among the values one row is held at a time.

    Raises:
        jinja2.UndefinedError: as in `render`, once the pieces are read.
    """
    return ENVIRONMENT.get_template(template).generate(values)


def embed_picture(path: Path) -> str:
    """The address (data:...) that holds a picture, a .jpg or a .png, within a page."""
    return f"data:{IMAGE_TYPES[path.suffix]};base64,{base64.b64encode(path.read_bytes()).decode()}"


def _read(name: str) -> str:
    """The stylesheet or a script, which stand in a page as they are."""
    return (FOLDER / name).read_text(encoding="utf-8")


def _escape_cell(value: object) -> object:
    return re.sub(r"([|<>`\\\[\]])", r"\\\1", value).replace("\n", " ") if isinstance(value, str) else value


def _open_environment(
    autoescape: bool = True, finalize: Callable[[object], object] | None = None
) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(FOLDER),
        autoescape=autoescape,
        finalize=finalize,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.globals["read"] = _read
    environment.filters["thousands"] = lambda number: f"{int(number):,}"
    return environment


ENVIRONMENT = _open_environment()
CARDS = _open_environment(autoescape=False, finalize=_escape_cell)  # Markdown, with escapes of its own
