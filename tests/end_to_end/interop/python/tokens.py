"""Signed tokens by the package `joserfc`: verifies those of a server, and makes some for the library to verify."""

import json
import sys
import urllib.request

from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, KeySet, OKPKey, RSAKey

base, scenario, *rest = sys.argv[1:]
ALGORITHMS = ["RS256", "PS256", "ES256", "ES384", "EdDSA"]


def fetch(url):
    with urllib.request.urlopen(url) as answer:
        return json.load(answer)


def verify(tokens):
    metadata = fetch(f"{base}/.well-known/oauth-authorization-server")
    keys = KeySet.import_key_set(fetch(metadata["jwks_uri"]))
    needed = jwt.JWTClaimsRegistry(
        iss={"essential": True, "value": metadata["issuer"]},
        aud={"essential": True, "value": metadata["issuer"] + "/api"},
        **{name: {"essential": True} for name in ["exp", "sub", "client_id", "iat", "jti"]},
    )
    for token in tokens:
        read = jwt.decode(token, keys, algorithms=ALGORITHMS)
        needed.validate(read.claims)
        assert read.header["typ"] == "at+jwt" and read.claims["sub"] == "machine", (read.header, read.claims)
        changed = token[:-4] + ("BBBB" if token.endswith("AAAA") else "AAAA")
        try:
            jwt.decode(changed, keys, algorithms=ALGORITHMS)
        except JoseError:
            continue
        raise AssertionError("a changed signature is accepted")


def make():
    keys = {
        "RS256": RSAKey.generate_key(2048),
        "PS256": RSAKey.generate_key(2048),
        "ES256": ECKey.generate_key("P-256"),
        "ES384": ECKey.generate_key("P-384"),
        "EdDSA": OKPKey.generate_key("Ed25519"),
    }
    for alg, key in keys.items():
        token = jws.serialize_compact({"alg": alg, "typ": "at+jwt"}, b'{"sub":"machine"}', key, algorithms=ALGORITHMS)
        made = {
            "alg": alg,
            "jwk": key.as_dict(private=False),
            "private_jwk": key.as_dict(private=True),
            "pem": key.as_pem(private=True).decode(),
            "token": token,
            "thumbprint": key.thumbprint(),
        }
        print(json.dumps(made))


{"verify": lambda: verify(rest), "make": make}[scenario]()
print(f"done: {scenario}")
