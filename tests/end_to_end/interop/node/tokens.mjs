// Signed tokens by the package `jose`: verifies those of a server, and makes some for the library to verify.
import * as jose from "jose";

const [base, scenario, ...rest] = process.argv.slice(2);

async function verify(tokens) {
  const metadata = await (await fetch(`${base}/.well-known/oauth-authorization-server`)).json();
  const keys = jose.createRemoteJWKSet(new URL(metadata.jwks_uri));
  for (const token of tokens) {
    const { payload, protectedHeader } = await jose.jwtVerify(token, keys, {
      issuer: metadata.issuer,
      audience: `${metadata.issuer}/api`,
      typ: "at+jwt",
      requiredClaims: ["iss", "exp", "aud", "sub", "client_id", "iat", "jti"],
    });
    if (!protectedHeader.kid || payload.sub !== "machine") throw new Error(JSON.stringify(payload));
    const changed = token.slice(0, -4) + (token.endsWith("AAAA") ? "BBBB" : "AAAA");
    await jose.jwtVerify(changed, keys).then(
      () => { throw new Error("a changed signature is accepted"); },
      () => {},
    );
  }
}

async function make() {
  for (const alg of ["RS256", "PS256", "ES256", "ES384", "EdDSA", "Ed25519"]) {
    const { publicKey, privateKey } = await jose.generateKeyPair(alg, { extractable: true });
    const jwk = await jose.exportJWK(publicKey);
    const token = await new jose.SignJWT({ sub: "machine" }).setProtectedHeader({ alg, typ: "at+jwt" }).sign(privateKey);
    const thumbprint = await jose.calculateJwkThumbprint(jwk);
    console.log(JSON.stringify({ alg, jwk, private_jwk: await jose.exportJWK(privateKey), pem: await jose.exportPKCS8(privateKey), token, thumbprint }));
  }
}

if (scenario === "verify") await verify(rest);
else if (scenario === "make") await make();
else throw new Error(`no scenario ${scenario}`);
console.log(`done: ${scenario}`);
