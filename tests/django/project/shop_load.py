"""Visitors of the shop, as their browsers are: shop_load.py [--one-tab] VISITORS KEYS PORT...

The tests of other applications, whose shops have the same pages, have these visitors too. With --one-tab nobody does two
things at a time under one cookie: some stores bring a session back that another request saves while it ends.

They shop until stdin ends. Then every basket and every old cookie is looked at once more, KEYS gets the keys of all
sessions, and the counts are printed as one line of JSON. What should not be is told on stderr, with its history.
"""

import collections
import contextlib
import hashlib
import http.client
import http.cookies
import json
import random
import re
import sys
import threading
import time
import traceback
import urllib.parse

PASSWORD = "pear"
#: Seconds until a visitor presses a button again whose answer was cut off. The request may go on for a moment.
SECOND_TRY = 1.0
#: Seconds without an answer after which a visitor gives up.
PATIENCE = 60.0
THINKING = 0.02

TITLE = re.compile(r"<h1>Basket of (.*)</h1>")
ITEM = re.compile(r"<li>(.*)</li>")

FAULTS = ("lost", "back", "logged_out", "wrong", "errors")
#: Of how many faults the history is told.
TOLD_MAX = 10

TRAFFIC = ("logins", "adds", "reads", "logouts", "retries", "cuts", "old_cookies", "kept")
counts = dict.fromkeys(("longest_ms", *TRAFFIC, *FAULTS), 0)
counting = threading.Lock()
keys = set()
stop = threading.Event()
one_tab = sys.argv[1] == "--one-tab"


def count(name):
    with counting:
        counts[name] += 1


def tell(name, about, history):
    """Counts what should not be, and says how it came to that."""
    count(name)
    with counting:
        if sum(counts[name] for name in FAULTS) <= TOLD_MAX:
            print(f"{name}: {about}", *history, sep="\n    ", file=sys.stderr, flush=True)


class Servers:
    """A connection to each of the web servers, between which a load balancer chooses."""

    def __init__(self, ports):
        self._connections = [http.client.HTTPConnection("127.0.0.1", port, timeout=PATIENCE) for port in ports]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for connection in self._connections:
            connection.close()

    def choose(self):
        """Leaves out those that cannot be reached, as long as there are others."""
        random.shuffle(self._connections)
        for connection in self._connections:
            with contextlib.suppress(OSError):
                if connection.sock is None:
                    connection.connect()
                return connection
        return self._connections[0]


class Browser:
    """Keeps cookies, and presses a button again whose answer was 503, or was cut off."""

    def __init__(self, servers, cookies=()):
        self.cookies = dict(cookies)
        self.history = collections.deque(maxlen=60)
        self._servers = servers

    @property
    def key(self):
        return self.cookies.get("sessionid")

    def get(self, path="/"):
        page, _ = self._ask("GET", path, None, (200,))
        return page

    def post(self, path, form=None, expected=(302,)):
        """Says whether an earlier try, which was not acknowledged, may have done it too."""
        _, unsure = self._ask("POST", path, form or {}, expected)
        return unsure

    def _ask(self, method, path, form, expected):
        unsure, give_up = False, time.monotonic() + PATIENCE
        while True:
            status, page, wait = self._try(method, path, form)
            if status in expected:
                return Page(page), unsure
            if status is not None and status != 503:
                tell("errors", f"{status} instead of {expected}", self.history)
            if time.monotonic() > give_up:
                raise TimeoutError(f"{method} {path}: {status} for {PATIENCE:.0f} s")
            unsure = True
            time.sleep(wait)

    def _try(self, method, path, form):
        """The status, the page, and how long to wait before the next try. The status is `None` if it was cut off."""
        connection = self._servers.choose()
        headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if form is not None:
            headers["Content-Type"] = "application/x-www-form-urlencoded"
            headers["X-CSRFToken"] = self.cookies.get("csrftoken", "")
        sent, key = time.time(), self.key
        what = f"{method} {path} {(form or {}).get('item', '')}"
        try:
            connection.request(method, path, None if form is None else urllib.parse.urlencode(form), headers)
            answer = connection.getresponse()
            page = answer.read().decode()
            # The end of a connection looks like the end of the headers, or of a page whose length is not known.
            # Django's own pages of errors have no length.
            if answer.status < 400 and "Content-Length" not in answer.headers:
                raise http.client.HTTPException("the answer was cut")
        except (OSError, http.client.HTTPException) as error:
            connection.close()
            count("cuts")
            self._note(sent, connection, key, what, repr(error))
            return None, "", SECOND_TRY
        self._take_cookies(answer)
        self._note(sent, connection, key, what, answer.status)
        with counting:
            counts["longest_ms"] = max(counts["longest_ms"], round(1000 * (time.time() - sent)))
        if answer.status == 503:
            count("retries")
        return answer.status, page, float(answer.headers.get("Retry-After", SECOND_TRY))

    def _take_cookies(self, answer):
        for line in answer.headers.get_all("Set-Cookie", []):
            for name, cookie in http.cookies.SimpleCookie(line).items():
                if str(cookie["max-age"]) == "0":
                    self.cookies.pop(name, None)
                else:
                    self.cookies[name] = cookie.value
        if self.key is not None:
            keys.add(self.key)

    def _note(self, sent, connection, key, what, result):
        self.history.append(
            f"{sent:.3f} to {time.time():.3f} :{connection.port} {short(key)} {what} -> {result} {short(self.key)}"
        )


class Page:
    """The basket as a visitor sees it."""

    def __init__(self, html):
        title = TITLE.search(html)
        self.name = title and title[1]
        self.items = ITEM.findall(html)


class Visit:
    """A basket, from its first item to the logout."""

    def __init__(self, servers, user):
        self.user, self.browser = user, Browser(servers)
        self.is_logged_in = False
        #: What the shop has acknowledged, and what it may have taken.
        self.sure, self.maybe = set(), set()

    def look(self):
        page, history = self.browser.get(), self.browser.history
        count("reads")
        if self.is_logged_in and page.name == "a visitor":
            tell("logged_out", f"{self.user}, who did not log out", history)
            self.is_logged_in = False
        elif page.name != (self.user if self.is_logged_in else "a visitor"):
            tell("wrong", f"{page.name} instead of {self.user}", history)
        elif not self.sure.issubset(page.items):
            tell("lost", f"{sorted(self.sure.difference(page.items))}, found {page.items}", history)
        elif not (self.sure | self.maybe).issuperset(page.items):
            tell("wrong", f"{page.items} instead of {self.sure} and perhaps {self.maybe}", history)
        # What is lost is told once.
        self.sure.intersection_update(page.items)

    def add(self):
        item = f"{random.getrandbits(48):x}"
        self.maybe.add(item)
        self.browser.post("/", {"item": item})
        self.sure.add(item)
        count("adds")

    def log_in(self):
        """Returns the key from before the login, which is nobody's any more."""
        before = self.browser.key
        self.browser.get("/login/")
        if self.browser.post("/login/", {"username": self.user, "password": PASSWORD}):
            # The basket may have got a new key with the answer that did not come.
            self.maybe |= self.sure
            self.sure.clear()
        self.is_logged_in = True
        count("logins")
        return before

    def log_out(self):
        """Returns the key that is nobody's any more."""
        before = self.browser.key
        self.browser.post("/logout/")
        count("logouts")
        return before

    def log_out_beside(self, servers):
        """As `log_out`, while another tab with the same cookie puts something into the basket."""
        tab = Browser(servers, self.browser.cookies)
        # Django's answer to who was logged out meanwhile is 400.
        adding = threading.Thread(target=guarded, args=(tab.post, "/", {"item": "too late"}, (302, 400)))
        adding.start()
        before = self.log_out()
        adding.join()
        self.browser.history.extend(tab.history)
        return before


class Visitor:
    """Has some baskets at a time, comes back to them, and tries old cookies now and then."""

    def __init__(self, ports, user):
        self.user, self.servers, self.servers_of_tab = user, Servers(ports), Servers(ports)
        self.visits, self.ended = [], []

    def run(self):
        with self.servers, self.servers_of_tab:
            while not stop.is_set():
                self.shop()
            for visit in self.visits:
                visit.look()
                count("kept")
            for ended in self.ended:
                self.try_again(ended)

    def shop(self):
        if self.visits and random.random() < 0.6:
            visit = self.visits.pop(random.randrange(len(self.visits)))
        else:
            visit = Visit(self.servers, self.user)
            visit.look()
            visit.add()
            visit.look()
            self.end(visit.log_in(), visit)
        for _ in range(random.randrange(1, 5)):
            visit.look()
            visit.add()
            time.sleep(THINKING)
        visit.look()
        if random.random() < 0.6:
            self.visits.append(visit)
        elif one_tab or random.random() < 0.5:
            self.end(visit.log_out(), visit)
        else:
            self.end(visit.log_out_beside(self.servers_of_tab), visit)
        if self.ended:
            self.try_again(random.choice(self.ended))

    def end(self, key, visit):
        """A key that nobody may be found under any more."""
        ended = (key, visit.browser.history)
        self.ended.append(ended)
        self.try_again(ended)

    def try_again(self, ended):
        key, history = ended
        thief = Browser(self.servers, {"sessionid": key})
        page = thief.get()
        count("old_cookies")
        if page.name != "a visitor" or page.items:
            tell("back", f"{page.name}, {page.items}", [*history, *thief.history])


def guarded(act, *arguments):
    """What a thread does: a failure is counted, since nobody would see it."""
    try:
        act(*arguments)
    except Exception as error:
        tell("errors", repr(error), traceback.format_exc().splitlines())


def short(key):
    return key and hashlib.sha256(key.encode()).hexdigest()[:8]


def main(visitors, path, *ports):
    all_visitors = [Visitor([int(port) for port in ports], f"visitor{n}") for n in range(int(visitors))]
    threads = [threading.Thread(target=guarded, args=(visitor.run,)) for visitor in all_visitors]
    for thread in threads:
        thread.start()
    sys.stdin.read()
    stop.set()
    for thread in threads:
        thread.join()
    with open(path, "w", encoding="ascii") as file:
        file.writelines(f"{key}\n" for key in sorted(keys))
    print(json.dumps(counts))


main(*sys.argv[1 + one_tab :])
