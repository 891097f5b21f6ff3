"""The user: a browser without scripts that keeps its cookies, follows no redirect by itself and fills in forms."""

from html.parser import HTMLParser
from urllib.parse import urljoin

import requests


class Browser:
    def __init__(self, base):
        self._base = base
        self._http = requests.Session()
        self._http.trust_env = False

    def decide(self, address, username, password, decision):
        """Takes an application's request to the server, logs in, decides, and returns the address of the last redirect.

        A user who has agreed to the whole request before is not asked again.
        """
        login = self._send("GET", address)
        page = self._submit(login, "/login", [("username", username), ("password", password)])
        while "location" in page.headers:
            target = urljoin(self._base, page.headers["location"])
            if not target.startswith(self._base + "/"):
                return target
            page = self._send("GET", target)
        scopes = _fields(page.text, "/consent", "checkbox")
        return self._submit(page, "/consent", [*scopes, ("decision", decision)]).headers["location"]

    def _send(self, method, address, **more):
        return self._http.request(method, urljoin(self._base, address), allow_redirects=False, timeout=30, **more)

    def _submit(self, page, action, entered):
        return self._send("POST", action, data=[*_fields(page.text, action, "hidden"), *entered])


def _fields(page, action, kind):
    """The names and values of the fields of a kind in the form that leads to `action`."""
    forms = _Forms()
    forms.feed(page)
    return [(field["name"], field["value"]) for field in forms.found[action] if field.get("type") == kind]


class _Forms(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = {}

    def handle_starttag(self, tag, attributes):
        if tag == "form":
            self.found[dict(attributes)["action"]] = self._open = []
        elif tag == "input":
            self._open.append(dict(attributes))
