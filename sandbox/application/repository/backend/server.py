"""The API: buildings in a PostgreSQL database.

GET  /api/v1/health     200 with the version once the database answers, else 503
GET  /api/v1/buildings  how many there are, and the 50 newest
POST /api/v1/buildings  {"name": "…"} adds one
"""

import json
import os
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

from database import Database, Unavailable
from serve import Handler, serve

VERSION = (Path(__file__).parent / "VERSION").read_text().strip()
ORIGINS = set(os.environ.get("CORS_ALLOWED_ORIGINS", "").split(","))
LONGEST_BODY = 65_536  # bytes
LONGEST_NAME = 200  # characters

database = Database(os.environ["DATABASE_URL"], int(os.environ.get("DB_POOL_MAX_CONNECTIONS", "8")))


Answer = tuple[int, dict[str, object]]


class Mistake(Exception):
    """What the client sent cannot be accepted; the text says why."""


class Api(Handler):
    """Routes requests to the database and puts its answers into JSON."""

    def do_GET(self) -> None:
        """Answer health and the list of buildings."""
        routes = {"/api/v1/health": self.health, "/api/v1/buildings": self.list_buildings}
        self.route(routes.get(self.path.partition("?")[0]))

    do_HEAD = do_GET

    def do_POST(self) -> None:
        """Add a building."""
        self.route({"/api/v1/buildings": self.add_building}.get(self.path))

    def route(self, action: Callable[[], Answer] | None) -> None:
        """Run an action; say so in JSON if there is none, or the client or the database is at fault."""
        origin = self.headers.get("Origin", "")
        cors = {"Access-Control-Allow-Origin": origin, "Vary": "Origin"} if origin in ORIGINS - {""} else {}
        try:
            status, value = action() if action else (HTTPStatus.NOT_FOUND, {"error": "no such page"})
        except Mistake as mistake:
            status, value = HTTPStatus.BAD_REQUEST, {"error": str(mistake)}
        except Unavailable as error:
            self.log_error("database: %s", error)
            status, value = HTTPStatus.SERVICE_UNAVAILABLE, {"status": "unhealthy", "version": VERSION}
        self.answer_json(status, value, cors)

    def health(self) -> Answer:
        """Be healthy only when the database answers a query."""
        database.query("SELECT 1")
        if VERSION == "sick":  # the release that starts well and never becomes healthy
            return HTTPStatus.SERVICE_UNAVAILABLE, {"status": "unhealthy", "version": VERSION}
        return HTTPStatus.OK, {"status": "healthy", "version": VERSION}

    def list_buildings(self) -> Answer:
        """Count the buildings and name the newest."""
        ((count,),) = database.query("SELECT count(*) FROM buildings")
        rows = database.query("SELECT id, name FROM buildings ORDER BY id DESC LIMIT 50")
        return HTTPStatus.OK, {"count": count, "buildings": [{"id": i, "name": name} for i, name in rows]}

    def add_building(self) -> Answer:
        """Insert a row; the answer comes after the commit."""
        name = self.sent_name()
        ((number,),) = database.query("INSERT INTO buildings (name) VALUES (%s) RETURNING id", (name,))
        return HTTPStatus.CREATED, {"id": number, "name": name}

    def sent_name(self) -> str:
        """Read the name out of the request's body."""
        length = self.headers.get("Content-Length", "")
        if not length.isdecimal() or int(length) > LONGEST_BODY:
            raise Mistake(f"send a JSON body of at most {LONGEST_BODY} bytes")
        try:
            name = json.loads(self.rfile.read(int(length)))["name"]
        except (ValueError, KeyError, TypeError):
            raise Mistake('send JSON such as {"name": "Les Lilas"}') from None
        if not isinstance(name, str) or not 0 < len(name.strip()) <= LONGEST_NAME or "\0" in name:
            raise Mistake(f"the name of a building has 1 to {LONGEST_NAME} characters")
        return name


if __name__ == "__main__":
    print(f"backend {VERSION} starts", flush=True)
    serve(Api, os.environ.get("SERVER_HOST", "127.0.0.1"), int(os.environ.get("SERVER_PORT", "8080")))
    print(f"backend {VERSION} stops: every request is answered", flush=True)
