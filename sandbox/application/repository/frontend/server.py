"""The page that people see: the version, and the buildings that the API knows."""

import json
import os
from http import HTTPStatus
from pathlib import Path
from string import Template

from serve import Handler, serve

HERE = Path(__file__).parent
VERSION = (HERE / "VERSION").read_text().strip()
PAGE = (
    Template((HERE / "page.html").read_text())
    # a URL inside a script: JSON is a string there too, and "<" could close the script
    .substitute(version=VERSION, api=json.dumps(os.environ["PUBLIC_API_URL"]).replace("<", "\\u003c"))
    .encode()
)


class Frontend(Handler):
    """Answers `/` with the page and `/health` with the state."""

    def do_GET(self) -> None:
        """Answer the page or the health check."""
        if self.path == "/":
            self.answer(HTTPStatus.OK, PAGE, "text/html; charset=utf-8")
        elif self.path == "/health":
            sick = VERSION == "sick"  # the release that starts well and never becomes healthy
            status = HTTPStatus.SERVICE_UNAVAILABLE if sick else HTTPStatus.OK
            self.answer_json(status, {"status": "unhealthy" if sick else "healthy", "version": VERSION})
        else:
            self.answer_json(HTTPStatus.NOT_FOUND, {"error": "no such page"})

    do_HEAD = do_GET


if __name__ == "__main__":
    serve(Frontend, "0.0.0.0", 80)  # noqa: S104  # inside its container, where only Traefik reaches it
