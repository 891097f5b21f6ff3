"""authlib with a key instead of a secret.

Arguments: the server's address, what to do, and the file of the private keys. The client makes its keys and prints only
their public halves.
"""

import json
import os
import sys
import time
from pathlib import Path
from urllib.parse import parse_qs, parse_qsl, urlsplit

# The server speaks http on a loopback address only.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

import requests  # noqa: E402
from authlib.common.security import generate_token  # noqa: E402
from authlib.common.urls import add_params_to_uri  # noqa: E402
from authlib.integrations.base_client import OAuthError  # noqa: E402
from authlib.integrations.requests_client import OAuth2Session  # noqa: E402
from authlib.oauth2.rfc7523 import PrivateKeyJWT, private_key_jwt_sign  # noqa: E402
from browser import Browser  # noqa: E402
from joserfc import jwt  # noqa: E402
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key  # noqa: E402

ISSUER, SCENARIO, FILE = sys.argv[1:]
METHOD = "private_key_jwt"
GENERATORS = {
    "ES256": lambda **more: ECKey.generate_key("P-256", **more),
    "RS256": lambda **more: RSAKey.generate_key(2048, **more),
    "PS256": lambda **more: RSAKey.generate_key(2048, **more),
    "EdDSA": lambda **more: OKPKey.generate_key("Ed25519", **more),
    "Ed25519": lambda **more: OKPKey.generate_key("Ed25519", **more),
}


class ShortLivedAssertion(PrivateKeyJWT):
    def sign(self, auth, token_endpoint):
        key = auth.client_secret
        more = {"header": {"kid": key.kid}, "expires_in": 60}
        return private_key_jwt_sign(key, auth.client_id, ISSUER, alg=key.alg, **more)


def signed(url, client_id, key):
    endpoint, query = url.split("?")
    now = int(time.time())
    claims = {**dict(parse_qsl(query)), "iss": client_id, "aud": ISSUER, "iat": now, "exp": now + 300}
    header = {"alg": key.alg, "kid": key.kid, "typ": "oauth-authz-req+jwt"}
    request = jwt.encode(header, claims, key, algorithms=[key.alg])
    return add_params_to_uri(endpoint, [("client_id", client_id), ("request", request)])


def generate(alg):
    return GENERATORS[alg](parameters={"kid": alg + "-2026", "alg": alg, "use": "sig"})


def make():
    keys = {alg: generate(alg) for alg in GENERATORS}
    for key in keys.values():
        print(json.dumps(key.as_dict(private=False)))
    Path(FILE).write_text(json.dumps({alg: key.as_dict(private=True) for alg, key in keys.items()}))


def client(key, auth=None):
    session = OAuth2Session(
        key.alg,
        key,
        token_endpoint_auth_method=METHOD,
        revocation_endpoint_auth_method=METHOD,
        redirect_uri="https://app.example/cb",
        token_endpoint=ISSUER + "/token",
        code_challenge_method="S256",
        default_timeout=30,
    )
    session.register_client_auth_method(auth or ShortLivedAssertion())
    session.trust_env = False
    return session


def introspect(session, text):
    answer = session.introspect_token(ISSUER + "/introspect", text, "access_token")
    assert answer.status_code == 200, answer.text
    return answer.json()


def everything(key):
    session = client(key)
    verifier = generate_token(48)
    plain, state = session.create_authorization_url(ISSUER + "/authorize", code_verifier=verifier, scope="user:read")
    answer = Browser(ISSUER).decide(signed(plain, key.alg, key), "ada", "correct horse", "approve")
    assert parse_qs(urlsplit(answer).query)["iss"] == [ISSUER], answer
    first = dict(session.fetch_token(authorization_response=answer, state=state, code_verifier=verifier))
    assert first["scope"] == "user:read", first
    second = dict(session.refresh_token())
    assert second["access_token"] != first["access_token"], second
    told = introspect(session, second["access_token"])
    assert (told["active"], told["sub"], told["client_id"]) == (True, "ada", key.alg), told
    answer = session.revoke_token(ISSUER + "/revoke", second["refresh_token"], "refresh_token")
    assert answer.status_code == 200, answer.text
    assert introspect(session, second["access_token"]) == {"active": False}
    own = session.fetch_token(grant_type="client_credentials", scope="user:write")
    assert own["scope"] == "user:write" and "refresh_token" not in own, own


def invalid_client(attempt):
    try:
        attempt()
    except OAuthError as refusal:
        assert refusal.error == "invalid_client", refusal
        return
    raise AssertionError("invalid_client was expected")


def page(address, error):
    answer = requests.get(address, allow_redirects=False, timeout=30)
    assert answer.status_code == 400 and f"<code>{error}</code>" in answer.text, answer.text


def wrong(right):
    """Another key with the same identifier and algorithm."""
    key = generate(right.alg)
    session = client(key)
    invalid_client(lambda: session.fetch_token(grant_type="client_credentials"))
    invalid_client(lambda: session.refresh_token(refresh_token="made-up"))
    # For these two the library returns the response, whatever its status is.
    for answer in [
        session.introspect_token(ISSUER + "/introspect", "made-up"),
        session.revoke_token(ISSUER + "/revoke", "made-up"),
    ]:
        assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client"), answer.text
    plain, _ = session.create_authorization_url(ISSUER + "/authorize", code_verifier=generate_token(48))
    page(signed(plain, key.alg, key), "invalid_request_object")
    # The client has to sign its requests.
    page(plain, "invalid_request")


def defaults(key):
    """The assertions that the library makes by itself are for the endpoint, and for an hour."""
    session = client(key, PrivateKeyJWT(alg=key.alg, headers={"kid": key.kid}))
    invalid_client(lambda: session.fetch_token(grant_type="client_credentials"))
    # With a better audience and a better time, it uses the same `jti` twice.
    claims = {"exp": int(time.time()) + 60}
    session = client(key, PrivateKeyJWT(ISSUER, claims=claims, alg=key.alg, headers={"kid": key.kid}))
    session.fetch_token(grant_type="client_credentials")
    invalid_client(lambda: session.fetch_token(grant_type="client_credentials"))


def each(run):
    for key in json.loads(Path(FILE).read_text()).values():
        run(import_key(key))


if SCENARIO == "make":
    make()
else:
    each({"everything": everything, "wrong": wrong, "defaults": defaults}[SCENARIO])
print("done:", SCENARIO)
