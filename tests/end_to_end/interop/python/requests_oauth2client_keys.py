"""requests-oauth2client with a key instead of a secret.

Arguments: the server's address, what to do, and the file of the private keys. The client makes its keys and prints only
their public halves.
"""

import json
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import requests
from browser import Browser
from jwskate import Jwk
from requests_oauth2client import InvalidClient, OAuth2Client, PrivateKeyJwt

ISSUER, SCENARIO, FILE = sys.argv[1:]
METADATA = ISSUER + "/.well-known/oauth-authorization-server"
ALGORITHMS = ["ES256", "RS256", "PS256", "EdDSA"]


def generate(alg):
    size = {} if alg in ["ES256", "EdDSA"] else {"key_size": 2048}
    return Jwk.generate(alg=alg, kid=alg + "-2026", **size)


def make():
    keys = {alg: generate(alg) for alg in ALGORITHMS}
    for key in keys.values():
        print(key.public_jwk().to_json())
    Path(FILE).write_text(json.dumps({alg: dict(key) for alg, key in keys.items()}))


def client(key, **more):
    """By default the audience is the URL of each endpoint."""
    session = requests.Session()
    session.trust_env = False
    auth = PrivateKeyJwt(key.alg, key, **{"aud": ISSUER, **more})
    # The server speaks http on a loopback address, which the library accepts with `testing` only.
    settings = {"redirect_uri": "https://app.example/cb", "session": session, "testing": True}
    return OAuth2Client.from_discovery_endpoint(METADATA, issuer=ISSUER, auth=auth, **settings)


def ask(oauth, scope="user:read"):
    # `iss` and `aud` are for the object: the library adds neither.
    return oauth.authorization_request(scope=scope, iss=oauth.client_id, aud=ISSUER)


def everything(key):
    oauth = client(key)
    request = ask(oauth)
    address = request.sign(key, lifetime=300).uri
    assert sorted(parse_qs(urlsplit(address).query)) == ["client_id", "request"], address
    answer = request.validate_callback(Browser(ISSUER).decide(address, "ada", "correct horse", "approve"))
    assert answer.iss == ISSUER, answer
    first = oauth.authorization_code(answer, validate=False)
    assert first.scope == "user:read", first
    second = oauth.refresh_token(first)
    assert second.access_token != first.access_token, second
    told = oauth.introspect_token(second)
    assert (told["active"], told["sub"], told["client_id"]) == (True, "ada", key.alg), told
    assert oauth.revoke_refresh_token(second) is True
    assert oauth.introspect_token(second) == {"active": False}
    own = oauth.client_credentials(scope="user:write")
    assert own.scope == "user:write" and own.refresh_token is None, own


def invalid_client(attempt):
    try:
        attempt()
    except InvalidClient as refusal:
        assert refusal.response.status_code == 401, refusal
        return
    raise AssertionError("invalid_client was expected")


def page(address, error):
    answer = requests.get(address, allow_redirects=False, timeout=30)
    assert answer.status_code == 400 and f"<code>{error}</code>" in answer.text, answer.text


def wrong(right):
    """Another key with the same identifier and algorithm."""
    key = generate(right.alg)
    oauth = client(key)
    invalid_client(oauth.client_credentials)
    invalid_client(lambda: oauth.refresh_token("made-up"))
    invalid_client(lambda: oauth.introspect_token("made-up"))
    invalid_client(lambda: oauth.revoke_access_token("made-up"))
    request = ask(oauth)
    page(request.sign(key).uri, "invalid_request_object")
    # The client has to sign its requests.
    page(request.uri, "invalid_request")


def defaults(key):
    """Assertions for an endpoint instead of the issuer, and objects for no server in particular."""
    oauth = client(key, aud=None)
    invalid_client(oauth.client_credentials)
    invalid_client(lambda: oauth.introspect_token("made-up"))
    page(oauth.authorization_request(scope="user:read").sign(key).uri, "invalid_request_object")


def each(run):
    for key in json.loads(Path(FILE).read_text()).values():
        run(Jwk(key))


if SCENARIO == "make":
    make()
else:
    each({"everything": everything, "wrong": wrong, "defaults": defaults}[SCENARIO])
print("done:", SCENARIO)
