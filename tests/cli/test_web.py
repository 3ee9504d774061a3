"""
spool web: pages that only read, for this host alone, whatever is written in the spool.
"""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from html import unescape
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import pytest
from agent import SPOOL, Agent, LogWriter, clean_environment, spool, status, wait_until
from cloudwatch_endpoint import Endpoint

import cli.web
from cli.errors import WrongUsage
from cli.web_parts.queries import QUERIES

FIELDS = "since=&until=&group=&stream=&batch=1&event=1"

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>"
TURNED = "txt.\u202egpj.exe \x1b[2J\x9b31m\u2028end"
"""What turns or ends a line, and what steers a terminal."""


class Web:
    """
    A `spool web` as a process of its own.
    """

    def __init__(self, db: Path, *options: str) -> None:
        self.process = subprocess.Popen(
            [*SPOOL, "web", "--db", str(db), "--port", "0", *options],
            env=clean_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout
        self.url = self.process.stdout.readline().strip()
        if not self.url:
            raise AssertionError(self.process.communicate()[1])
        self.host, self.port = urlsplit(self.url).hostname or "", urlsplit(self.url).port or 0

    def ask(
        self, path: str, *, method: str = "GET", headers: dict[str, str] | None = None
    ) -> tuple[int, http.client.HTTPMessage, str]:
        """
        Status, headers and text of an answer.
        """
        with closing(http.client.HTTPConnection(self.host, self.port, timeout=30)) as connection:
            connection.request(method, path, headers=headers or {})
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read().decode()

    def page(self, path: str = "/") -> str:
        """
        A page that is there.
        """
        code, _, text = self.ask(path)
        assert code == 200, (path, text)
        return text

    def rows(self, sql: str) -> list[Any]:
        """
        What SQL that was typed into the form gives.
        """
        answer = json.loads(self.page(f"/spool.json?_shape=arrays&sql={quote(sql)}"))
        return list(answer["rows"])

    def end(self, number: int = signal.SIGTERM) -> tuple[int, str]:
        """
        Exit code, and what it said on stderr.
        """
        self.process.send_signal(number)
        try:
            _, errors = self.process.communicate(timeout=60)
        finally:
            self.process.kill()
        return self.process.returncode, errors

    def __enter__(self) -> Web:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        code, errors = self.end()
        if kind is None:
            assert (code, errors) == (0, ""), "it says nothing of what was asked, and ends well"


@pytest.fixture(scope="module")
def web(history: Any) -> Iterator[Web]:
    with Web(history.db) as running:
        yield running


def text_of(html: str) -> str:
    """
    The words of a page, without its tags.
    """
    return re.sub(r"\s+", " ", unescape(re.sub(r"<[^>]*>", " ", html)))


# --- what it tells --------------------------------------------------------------------------------


def test_the_start_page_tells_what_is_here(web: Web, history: Any) -> None:
    words = text_of(web.page())
    for part in (
        re.escape(str(history.db)),
        "agent not running",
        r"2 events not sent, the oldest \d+ min old, and no agent is running",
        f"spool replay --db {re.escape(str(history.db))}",
        r"unsent 2 oldest unsent \d+ min sent 5 rejected 1 dropped 0 pruned 0 collected 8",
        "1 event rejected for good",
        "rejected: too old 1",
    ):
        assert re.search(part, words), part
    by_stream = words.partition("Streams, the worst first")[2]
    assert re.search(r"other late 2 .* app worker 0 - 2 1 .* app web 0 - 3 0", by_stream)


def test_the_plots_tell_when_events_were_logged_delivered_and_waited(web: Web) -> None:
    page = web.page("/?window=6h")
    steps = [unescape(step) for step in re.findall(r"<rect[^>]*><title>(.*?)</title>", page)]
    assert len(steps) == 3 * 90
    backlog, traffic, lag = steps[:90], steps[90:180], steps[180:]
    assert [step for step in backlog if step.endswith(" 7 waiting")], "until they were delivered"
    assert backlog[-1].endswith(" 2 waiting")
    counts = [tuple(map(int, re.findall(r"(\d+) (?:logged|delivered)", step))) for step in traffic]
    logged, delivered = (sum(column) for column in zip(*counts, strict=True))
    assert (logged, delivered) == (pytest.approx(7, abs=2), 5), "a step's edge may cut a batch"
    late = [step for step in lag if not step.endswith("nothing delivered")]
    assert re.search(r"longest \d+ min, mean \d+ min$", late[0])


def test_a_window_is_chosen_by_what_there_is_or_by_name(web: Web) -> None:
    chosen = re.compile(r'<a href="/\?window=(\w+)" aria-current')
    assert chosen.findall(web.page()) == ["6h"], "an hour ago is the oldest that waits"
    assert chosen.findall(web.page("/?window=7d")) == ["7d"]
    assert chosen.findall(web.page("/?window=%3Cb%3E")) == ["6h"]


def test_an_empty_spool_has_a_start_page(tmp_path: Path, db: Path) -> None:
    done = spool("put", "--db", db, "--group", "g", "--stream", "s", stdin="")
    assert done.returncode == 0, done.stderr
    with Web(db) as web:
        words = text_of(web.page())
        assert "Nothing was collected yet" in words
        for name in QUERIES:
            web.page(f"/spool/{name}?{FIELDS}")


def test_the_start_page_tells_what_the_agent_reports_as_status_does(
    endpoint: Endpoint, db: Path, tmp_path: Path
) -> None:
    nowhere = tmp_path / "nowhere <b>"
    with Agent(db, nowhere, endpoint.environment()) as agent:
        agent.wait_started()
        [trouble] = wait_until(lambda: status(db)["troubles"])
        with Web(db) as web:
            page = web.page()
        words = text_of(page)
        assert trouble["text"] in words
        assert "no such folders" in words
        assert "Nothing was collected yet" not in words
        assert "<b>" not in page
        assert agent.stop() == 0
    with Web(db) as web:
        words = text_of(web.page())
    assert "no such folders" not in words, "it ended without taking that back"


def test_the_start_page_judges_streams_as_status_does(scene: Any) -> None:
    for name, minutes in (("web-0", 14), ("web-1", 2)):
        error = f"PutLogEvents: AccessDeniedException: not for {name}"
        scene.stream(name, unsent=3, minutes=minutes, error=error)
    *_, trouble = status(scene.db)["troubles"]
    words, why = trouble["text"].split(": ", 1)
    assert words == "app web-0 and 1 stream more are not delivered"
    with Web(scene.db) as web:
        page = text_of(web.page())
    assert words in page
    assert why in page


@pytest.mark.parametrize("name", QUERIES)
def test_every_query_offered_runs_with_empty_fields(web: Web, name: str) -> None:
    answer = json.loads(web.page(f"/spool/{name}.json?{FIELDS}"))
    assert answer["ok"] is True
    assert answer["columns"]
    assert f'href="/spool/{name}"' in web.page()


@pytest.mark.parametrize(
    ("name", "column", "wanted"),
    [
        ("unsent-by-stream", "log_stream", ["late"]),
        ("oldest-unsent", "log_stream", ["late", "late"]),
        ("maybe-twice", "id", []),
        ("rejected-by-reason", "reason", ["too old"]),
        ("rejected", "message", ["from long ago"]),
        ("delivered-between", "log_stream", ["web", "worker"]),
        ("slowest-batches", "log_stream", ["worker", "web"]),
        ("streams", "log_stream", ["web", "worker", "late"]),
        ("not-events", "reason", []),
    ],
)
def test_the_queries_tell_what_their_titles_say(
    web: Web, name: str, column: str, wanted: list[str]
) -> None:
    rows = json.loads(web.page(f"/spool/{name}.json?_shape=objects&{FIELDS}"))["rows"]
    assert sorted(str(row[column]) for row in rows) == sorted(wanted)


def test_queries_with_fields_tell_of_what_was_named(web: Web, history: Any) -> None:
    def rows(name: str, **fields: str) -> list[dict[str, Any]]:
        query = urlencode({"_shape": "objects", "since": "", "until": "", **fields})
        return list(json.loads(web.page(f"/spool/{name}.json?{query}"))["rows"])

    two_hours = {"since": "2001-01-01", "until": "2999-01-01 10:00"}
    of_web = rows("stream-between", group="app", stream="web", **two_hours)
    assert [row["message"] for row in of_web] == [*reversed(history.web)]
    [batch] = rows("batches-of-a-stream", group="", stream="web")
    events = rows("events-of-a-batch", batch=str(batch["id"]))
    assert [row["message"] for row in events] == [*history.web]
    assert rows("batches-of-an-event", event=str(events[0]["id"])) == [batch]
    assert sum(row["events"] for row in rows("arrived-between", **two_hours)) == len(history.all)


# --- search, and how to send again ----------------------------------------------------------------


def find(web: Web, **fields: str) -> str:
    return web.page(f"/find?{urlencode(fields)}")


def commands(page: str) -> list[str]:
    return [unescape(text) for text in re.findall(r'class="command"><code>(.*?)</code>', page)]


def replayed(command: str) -> int:
    """
    How many events a command, typed into bash as it is shown, would send.
    """
    program = f'spool() {{ {" ".join(SPOOL)} "$@"; }}\n{command} --dry-run\n'
    done = subprocess.run(
        ["bash"], input=program.encode(), env=clean_environment(), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = re.search(r"would send ([\d,]+) event", done.stderr.decode())
    assert found, done.stderr
    return int(found[1].replace(",", ""))


def test_a_text_is_found_and_the_command_sends_what_was_found(web: Web, history: Any) -> None:
    page = find(web, text="get /t", stream="web")
    words = text_of(page)
    assert "2 found" in words
    assert "GET /two 500" in words
    assert "GET /three 200" in words
    assert "GET /one" not in words
    [command] = commands(page)
    assert command.startswith(f"spool replay --db {history.db} --group app --stream web --since ")
    assert replayed(command) == 2


def test_without_a_text_the_command_is_about_what_the_form_chose(web: Web, history: Any) -> None:
    [command] = commands(find(web, group="app", since="2h"))
    assert "--stream" not in command
    assert replayed(command) == 5
    [command] = commands(find(web, state="unsent"))
    assert command.endswith("--state unsent")
    assert replayed(command) == len(history.late)


def test_where_nothing_was_chosen_each_stream_has_its_command(web: Web, history: Any) -> None:
    """
    An empty selection would be a drain, and so something else than what is shown.
    """
    assert sorted(re.findall(r"--stream (\w+)", " ".join(commands(find(web))))) == [
        "late",
        "web",
        "worker",
    ]


@pytest.mark.parametrize(
    "fields",
    [
        {"since": "yesternight"},
        {"until": "<b>"},
        {"state": "lost"},
        {"batch": "-1"},
        {"batch": "9" * 30},
        {"batch": "9" * 5_000},
        {"before": "x"},
    ],
)
def test_a_field_that_makes_no_sense_is_told_and_nothing_is_looked_for(
    web: Web, fields: dict[str, str]
) -> None:
    code, _, page = web.ask(f"/find?{urlencode(fields)}")
    assert code == 400
    assert 'role="alert"' in page
    assert commands(page) == []
    assert "<b>" not in page


@pytest.mark.parametrize(
    "name",
    [
        "-rf",
        "--dry-run",
        "two words",
        "it's",
        '"$(reboot)`reboot`\\',
        "a;b|c&d>e?[f]{g,h}~!#",
        "\u202eturned\u2066",
        "\\x41 \u200e'!",
        "größe 😀",
        HOSTILE,
    ],
)
def test_the_command_means_the_stream_whatever_it_is_called(db: Path, name: str) -> None:
    for stream in (name, "other"):
        done = spool("put", "--db", db, "--group=g", f"--stream={stream}", stdin="one\ntwo\n")
        assert done.returncode == 0, done.stderr
    with Web(db) as web:
        page = find(web, stream=name)
    [command] = commands(page)
    assert command.isprintable()
    assert replayed(command) == 2


# --- hostile lines --------------------------------------------------------------------------------


def test_nothing_in_a_line_or_a_name_becomes_part_of_a_page(db: Path) -> None:
    """
    On our pages as on Datasette's.
    """
    for nasty in (HOSTILE, TURNED):
        done = spool("put", "--db", db, "--group=g", f"--stream=s{len(nasty)}", stdin=nasty + "\n")
        assert done.returncode == 0, done.stderr
    with closing(sqlite3.connect(db)) as connection, connection:
        nasty = HOSTILE + TURNED
        connection.execute("UPDATE stream SET log_group = ?, log_stream = ? || id", (nasty, nasty))
        connection.execute("UPDATE stream SET error = ?", (HOSTILE + TURNED,))
        connection.execute("INSERT INTO rejection VALUES (1, NULL, ?)", (HOSTILE + TURNED,))
        connection.execute("INSERT INTO skipped VALUES (?, 3)", (HOSTILE + TURNED,))
    pages = (
        "/",
        "/find",
        f"/find?{urlencode(dict.fromkeys(('text', 'group', 'stream'), HOSTILE))}",
        f"/find?{urlencode({'since': HOSTILE})}",
        "/spool",
        "/spool/events",
        "/spool/stream",
        "/spool/stream/1",
        f"/spool/streams?{FIELDS}",
        f"/spool/rejected?{FIELDS}",
        f"/spool/nowhere{quote(HOSTILE, safe='')}",
        f"/spool?{urlencode({'sql': 'select message from events'})}",
        f"/spool?{urlencode({'sql': 'select ' + HOSTILE})}",
    )
    with Web(db) as web:
        for path in pages:
            _, headers, page = web.ask(path)
            assert "<script>alert" not in page, path
            assert "<img src=x" not in page, path
            if not path.startswith("/spool?sql="):
                assert not set(page) & set("\u202e\x1b\x9b\u2028"), path
            assert "script-src 'self';" in headers["content-security-policy"], path
        assert "\\u202egpj.exe \\x1b[2J\\x9b31m\\u2028end" in text_of(web.page("/find"))


def test_no_page_needs_a_script_within_or_anything_from_elsewhere(web: Web) -> None:
    for path in ("/", "/find?text=GET", "/spool", "/spool/events", f"/spool/streams?{FIELDS}"):
        page = web.page(path)
        assert re.findall(r"<script(?![^>]*\bsrc=)", page) == [], path
        assert re.findall(r"\son\w+=", page) == [], path
        loaded = re.findall(r'(?:<script|<img|<link)[^>]*(?:src|href)="([^"]*)"', page)
        assert loaded, path
        for address in loaded:
            assert address.startswith(("/", web.url)), (path, address)
            kind = "image" if address.endswith(".ico") else "text"
            assert kind == "image" or web.page(urlsplit(address).path), address
    for path in ("/", "/find"):
        assert "style=" not in web.page(path)
        assert "unsafe-inline" not in web.ask(path)[1]["content-security-policy"]


# --- who may ask, and for what --------------------------------------------------------------------


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/", "/spool", "/spool/events", "/spool/-/create", "/-/logout"])
def test_nothing_but_reading_is_answered(web: Web, method: str, path: str) -> None:
    assert web.ask(path, method=method)[0] == 405


@pytest.mark.parametrize(
    "sql",
    [
        "DELETE FROM event",
        "WITH gone AS (SELECT 1) DELETE FROM event",
        "INSERT INTO source (name) VALUES ('x') RETURNING id",
        "PRAGMA user_version = 99",
        "SELECT * FROM pragma_user_version",
        "ATTACH DATABASE '/etc/passwd' AS other",
        "VACUUM INTO '/tmp/copy.db'",
        "SELECT readfile('/etc/passwd')",
        "SELECT load_extension('/tmp/x.so')",
        "SELECT 1; DELETE FROM event",
    ],
)
def test_no_sql_writes_or_reaches_another_file(web: Web, history: Any, sql: str) -> None:
    before = history.db.read_bytes()
    code, _, _ = web.ask(f"/spool.json?sql={quote(sql)}")
    assert code == 400
    assert history.db.read_bytes() == before
    assert web.rows("SELECT count(*) FROM events") == [[len(history.all)]]


@pytest.mark.parametrize(
    "path",
    [
        "/spool.db",
        "/_internal",
        "/_memory",
        "/-/databases",
        "/-/metadata",
        "/-/plugins",
        "/-/threads",
        "/-/allow-debug",
        "/-/messages",
        "/-/auth-token",
        "/-/static/../../app.py",
        "/-/spool/../../web.py",
        "/-/spool/%2e%2e/site.py",
        "//etc/passwd",
    ],
)
def test_there_is_no_way_to_files_or_to_datasettes_inside(web: Web, path: str) -> None:
    code, _, text = web.ask(path)
    assert code in (403, 404)
    assert "import" not in text
    assert "SQLite format" not in text


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("127.0.0.1", 200),
        ("localhost", 200),
        ("LocalHost:9999", 200),
        ("[::1]:8001", 200),
        ("127.1.2.3", 200),
        ("evil.example", 403),
        ("localhost.evil.example:8001", 403),
        ("127.0.0.1.evil.example", 403),
        ("127.0.0.1@evil.example", 403),
        ("10.0.0.5:8001", 403),
        ("", 403),
    ],
)
def test_another_sites_name_for_this_host_is_not_answered(web: Web, host: str, code: int) -> None:
    assert web.ask("/", headers={"Host": host})[0] == code


def test_other_sites_cannot_use_it(web: Web) -> None:
    from_elsewhere = {"Sec-Fetch-Site": "cross-site"}
    assert web.ask("/spool.json", headers={**from_elsewhere, "Sec-Fetch-Mode": "no-cors"})[0] == 403
    assert web.ask("/", headers={**from_elsewhere, "Sec-Fetch-Mode": "navigate"})[0] == 200
    _, headers, _ = web.ask("/", headers={"Origin": "http://evil.example"})
    assert headers["access-control-allow-origin"] is None
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers.get_all("cache-control") == ["no-store"], "log lines are secrets"


def test_a_host_that_others_can_reach_is_refused_unless_it_is_meant(history: Any) -> None:
    done = spool("web", "--db", history.db, "--port", "0", "--host", "0.0.0.0")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--public" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    running = Web(history.db, "--host", "0.0.0.0", "--public")
    assert running.ask("/", headers={"Host": "my-server:8001"})[0] == 200
    assert running.ask("/", method="POST")[0] == 405
    code, errors = running.end()
    assert (code, len(errors.splitlines())) == (0, 1)
    assert "can read every line" in errors


# --- beside an agent ------------------------------------------------------------------------------


def test_it_follows_a_running_agent_and_no_page_holds_up_the_file(
    db: Path, containers: Path, endpoint: Endpoint
) -> None:
    log = LogWriter(containers, "c" * 64, "web")
    log.write(*(f"line {number} {'x' * 500}" for number in range(2_000)))
    with Agent(db, containers, endpoint.environment()) as agent:
        agent.wait_started()
        wait_until(lambda: status(db)["sent"] == 2_000)
        with Web(db) as web:
            assert f"agent running, pid {agent.process.pid}" in text_of(web.page())
            with closing(http.client.HTTPConnection(web.host, web.port)) as stalled:
                stalled.request("GET", "/spool/events.json?_size=max")  # and reads no answer
                log.write("the newest")
                wait_until(lambda: "sent 2,001" in text_of(web.page()))
                assert "1 found" in text_of(find(web, text="the newest"))
                wait_until(lambda: checkpoint(db), what="the log is moved to the last page")
        assert agent.stop() == 0


def checkpoint(db: Path) -> bool:
    """
    Whether the whole write-ahead log could go into the file, which any reader would keep it from.
    """
    with closing(sqlite3.connect(db, isolation_level=None)) as connection:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy


def test_sql_that_takes_for_ever_is_ended_and_others_are_answered(web: Web) -> None:
    endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"
    code, _, text = web.ask(f"/spool.json?sql={quote(endless)}")
    assert code == 400
    assert "interrupted" in text.lower()
    web.page()


# --- how it begins and ends -----------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_well_also_while_somebody_looks(history: Any, number: int) -> None:
    running = Web(history.db)
    with closing(http.client.HTTPConnection(running.host, running.port)) as kept:
        kept.request("GET", "/")
        assert kept.getresponse().read()
        assert running.end(number) == (0, "")


def test_a_file_with_an_odd_name_is_shown_as_any_other(history: Any, tmp_path: Path) -> None:
    odd = tmp_path / "a?mode=rw&b#c%20d 'e.db"
    shutil.copy(history.db, odd)
    with Web(odd) as web:
        assert web.rows("SELECT count(*) FROM events") == [[len(history.all)]]
        assert str(odd) in text_of(web.page())


def test_without_a_spool_or_a_port_it_says_so_in_one_line(history: Any, tmp_path: Path) -> None:
    done = spool("web", "--db", tmp_path / "none.db")
    assert done.returncode == 1
    assert str(tmp_path / "none.db") in done.stderr
    assert list(tmp_path.iterdir()) == []
    with Web(history.db) as web:
        done = spool("web", "--db", history.db, "--port", str(web.port))
        assert (done.returncode, len(done.stderr.splitlines())) == (1, 1)
        assert f"127.0.0.1:{web.port}" in done.stderr


def test_without_datasette_it_says_what_to_install(
    history: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli.web, "find_spec", lambda _: None)
    with pytest.raises(WrongUsage, match=r"pip install 'logspool\[web\]'"):
        cli.web.command.main(["--db", str(history.db)], standalone_mode=False)


def test_its_help_loads_no_datasette() -> None:
    code = "import sys, cli.web; print('datasette' in sys.modules, 'uvicorn' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "False False\n"


# --- in a browser ---------------------------------------------------------------------------------

Browse = Callable[..., tuple[str, list[str]]]


@pytest.fixture
def browse(tmp_path: Path) -> Browse:
    """
    A function: the document of an address after its scripts ran, and what the console said.
    """
    chromium = shutil.which("chromium")
    if chromium is None:
        reason = "no chromium here: apt-get install chromium"
        if os.environ.get("SPOOL_TEST_BROWSER") == "required":
            pytest.fail(reason)
        pytest.skip(reason)

    def look(url: str, *options: str) -> tuple[str, list[str]]:
        done = subprocess.run(
            [
                *(
                    chromium,
                    "--headless",
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-dev-shm-usage",
                ),
                *("--enable-logging=stderr", f"--user-data-dir={tmp_path}/chromium"),
                *(options or ("--dump-dom",)),
                url,
            ],
            capture_output=True,
            text=True,
            timeout=90,
            check=True,
        )
        return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]

    return look


@pytest.mark.timeout(300)  # a browser is started six times
def test_the_pages_work_in_a_browser_and_its_console_is_quiet(web: Web, browse: Browse) -> None:
    _, said = browse("data:text/html,<script>console.error('heard')</script>")
    assert "heard" in said[0], "else the silence below would mean nothing"
    document, said = browse(web.url)
    assert said == []
    assert document.count("<svg") == 3
    assert re.search(r'<path class="bars delivered" d="M[\d.]', document)
    assert re.search(r'<path class="line longest" d="M[\d.]', document)
    assert document.count("<tr>") >= 5
    assert '<button type="button">copy</button>' in document, "its script ran"
    for path in ("find?text=GET", "spool", "spool/events", f"spool/streams?{FIELDS}"):
        document, said = browse(web.url + path)
        assert (said, "</html>" in document) == ([], True), path


@pytest.mark.parametrize(("width", "height"), [(1280, 900), (400, 900)])
def test_the_start_page_can_be_drawn(
    web: Web, browse: Browse, tmp_path: Path, width: int, height: int
) -> None:
    picture = tmp_path / "page.png"
    browse(web.url, f"--window-size={width},{height}", f"--screenshot={picture}")
    data = picture.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(data) > 10_000, "an empty page is smaller"
