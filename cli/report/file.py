"""Atomic writing of the report page."""

from pathlib import Path

from cli.options import BadOption
from cli.report.story import Story


def write_page(path: Path, story: Story, option: str = "--report") -> None:
    """Write the page. Raises BadOption if the file cannot be written."""
    # Imported here because plotly takes a second to import and most runs do not need it.
    from cli.report.page import page

    partial = path.with_name(path.name + ".partial")
    try:
        partial.write_text(page(story), encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise BadOption(f"{option}: {path}: cannot be written: {error.strerror or error}") from error
