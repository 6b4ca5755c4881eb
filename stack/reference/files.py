"""Files that the gateway serves: the OpenAPI document, its reference page and the problem types."""

import shutil
from importlib.metadata import distribution
from pathlib import Path

from stack.migrate import ROOT
from stack.reference.document import document_text
from stack.reference.problems import problems_page

PAGES = ROOT / "deploy" / "gateway" / "pages"
SWAGGER_UI = ("swagger_bundle.js", "swagger_style.css")


def write_reference(folder: Path) -> None:
    """Write all files into the folder. Each file's path in it is its path at the gateway, pages without `.html`."""
    shutil.copytree(PAGES, folder, dirs_exist_ok=True)
    package = distribution("offapi")  # not imported: that reads all of its 9 MB
    for name in SWAGGER_UI:
        shutil.copyfile(str(package.locate_file(f"offapi/{name}")), folder / "docs" / name)
    (folder / "openapi.json").write_text(document_text())
    (folder / "problems.html").write_text(problems_page())
