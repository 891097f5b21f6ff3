"""authlib against a running server. Arguments: the server's address and what to do, a function of this file."""

import os
import sys
from urllib.parse import parse_qs, urlsplit

# The server speaks http on a loopback address only.
os.environ["AUTHLIB_INSECURE_TRANSPORT"] = "1"

from authlib.common.security import generate_token  # noqa: E402
from authlib.integrations.base_client import OAuthError  # noqa: E402
from authlib.integrations.requests_client import OAuth2Session  # noqa: E402
from authlib.oauth2.rfc8414 import AuthorizationServerMetadata, get_well_known_url  # noqa: E402
from browser import Browser  # noqa: E402

BASE = sys.argv[1]
CALLBACK = "https://app.example/cb"


def client(client_id="all", secret="all-secret", **more):
    # authlib puts identifier and secret into the Basic header unescaped, so these need no escaping (RFC 6749 §2.3.1).
    session = OAuth2Session(
        client_id,
        secret,
        redirect_uri=CALLBACK,
        token_endpoint=BASE + "/token",
        code_challenge_method="S256",
        default_timeout=30,
        **more,
    )
    session.trust_env = False
    return session


def profile(session):
    return session.get(BASE + "/api/me")


def owner(address, decision="approve"):
    return Browser(BASE).decide(address, "ada", "correct horse", decision)


def with_code(session, scope="user:read user:write"):
    verifier = generate_token(48)
    address, state = session.create_authorization_url(BASE + "/authorize", code_verifier=verifier, scope=scope)
    answer = owner(address)
    assert parse_qs(urlsplit(answer).query)["iss"] == [BASE], answer
    return session.fetch_token(authorization_response=answer, state=state, code_verifier=verifier)


def refused(error, attempt):
    try:
        attempt()
    except OAuthError as refusal:
        assert refusal.error == error, refusal
        return
    raise AssertionError(f"{error} was expected")


def authorization_code():
    for method in ["client_secret_basic", "client_secret_post"]:
        session = client(token_endpoint_auth_method=method)
        token = with_code(session)
        assert token["token_type"] == "Bearer" and token["expires_in"] == 3600, token
        assert token["scope"] == "user:read user:write" and token["refresh_token"], token
        answer = profile(session)
        assert answer.status_code == 200 and answer.json()["sub"] == "ada", answer.text
    public = client("public", None, token_endpoint_auth_method="none")
    with_code(public)
    assert profile(public).json()["client_id"] == "public"


def refresh_token():
    session = client()
    first = dict(with_code(session))
    second = dict(session.refresh_token())
    assert first["access_token"] != second["access_token"] and first["refresh_token"] != second["refresh_token"]
    assert session.token["access_token"] == second["access_token"]
    assert profile(session).status_code == 200
    refused("invalid_scope", lambda: session.refresh_token(scope="made-up"))
    # A token that is about to expire is refreshed by the library before it is used.
    session.token["expires_at"] = 1
    assert profile(session).status_code == 200
    assert session.token["access_token"] != second["access_token"]


def client_credentials():
    session = client()
    token = session.fetch_token(grant_type="client_credentials", scope="user:write")
    assert token["scope"] == "user:write" and "refresh_token" not in token, token
    # Only users have a profile.
    assert profile(session).status_code == 403
    wrong = client(secret="wrong")
    refused("invalid_client", lambda: wrong.fetch_token(grant_type="client_credentials"))


def password():
    session = client()
    token = session.fetch_token(username="ada", password="correct horse", scope="user:read")
    assert token["scope"] == "user:read" and token["refresh_token"], token
    assert profile(session).json()["sub"] == "ada"
    refused("invalid_grant", lambda: client().fetch_token(username="ada", password="wrong"))


def password_is_off():
    refused("unsupported_grant_type", lambda: client().fetch_token(username="ada", password="correct horse"))


def implicit():
    session = client(response_type="token")
    address, state = session.create_authorization_url(BASE + "/authorize", scope="user:read")
    token = session.fetch_token(authorization_response=owner(address), state=state)
    assert token["token_type"] == "Bearer" and token["scope"] == "user:read", token
    assert int(token["expires_in"]) == 3600 and "refresh_token" not in token, token
    assert profile(session).json()["sub"] == "ada"


def revocation_and_introspection():
    session = client()
    token = dict(with_code(session, "user:read"))
    api = client("api", "api-secret")

    def introspect(text):
        answer = api.introspect_token(BASE + "/introspect", text, "access_token")
        assert answer.status_code == 200, answer.text
        return answer.json()

    told = introspect(token["access_token"])
    assert told["active"] is True and told["sub"] == "ada" and told["client_id"] == "all", told
    assert introspect("made-up") == {"active": False}
    answer = session.revoke_token(BASE + "/revoke", token["refresh_token"], "refresh_token")
    assert answer.status_code == 200, answer.text
    assert introspect(token["access_token"]) == {"active": False}
    assert profile(session).status_code == 401
    refused("invalid_grant", lambda: session.refresh_token(refresh_token=token["refresh_token"]))


def metadata():
    session = client()
    answer = session.get(get_well_known_url(BASE, external=True), withhold_token=True)
    document = AuthorizationServerMetadata(answer.json())
    document.validate()
    assert document.issuer == BASE and document.token_endpoint == BASE + "/token", document
    assert document.code_challenge_methods_supported == ["S256"], document


globals()[sys.argv[2]]()
print("done:", sys.argv[2])
