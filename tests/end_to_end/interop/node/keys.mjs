// openid-client with a key instead of a secret. Arguments: the server's address, what to do, and the file of the
// private keys. The client makes its keys and prints only their public halves.

import assert from 'node:assert/strict'
import { readFileSync, writeFileSync } from 'node:fs'
import * as jose from 'jose'
import * as client from 'openid-client'
import { Browser } from './browser.mjs'

const [base, scenario, file] = process.argv.slice(2)
const CALLBACK = 'https://app.example/cb'
// The package names the algorithm of an Ed25519 key `Ed25519`, unless this option changes the name.
const OLD_NAME = {
  [client.modifyAssertion]: (header) => {
    header.alg = 'EdDSA'
  },
}

function optionsFor(alg) {
  return alg === 'EdDSA' ? OLD_NAME : undefined
}

async function make() {
  const all = {}
  for (const alg of ['ES256', 'RS256', 'PS256', 'EdDSA', 'Ed25519']) {
    const kid = `${alg}-2026`
    const { publicKey, privateKey } = await jose.generateKeyPair(alg, { extractable: true })
    all[alg] = { ...(await jose.exportJWK(privateKey)), kid, alg }
    console.log(JSON.stringify({ ...(await jose.exportJWK(publicKey)), kid, alg }))
  }
  writeFileSync(file, JSON.stringify(all))
}

async function importKey(jwk) {
  return { key: await jose.importJWK(jwk), kid: jwk.kid }
}

function discover(id, key, options) {
  const settings = { algorithm: 'oauth2', execute: [client.allowInsecureRequests] }
  return client.discovery(new URL(base), id, undefined, client.PrivateKeyJwt(key, options), settings)
}

async function request(verifier, state) {
  return {
    redirect_uri: CALLBACK,
    scope: 'user:read',
    state,
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  }
}

// Logs in and consents. The response type and all other parameters are in the object only.
async function login(config, key, options) {
  const [pkceCodeVerifier, expectedState] = [client.randomPKCECodeVerifier(), client.randomState()]
  const parameters = await request(pkceCodeVerifier, expectedState)
  const address = await client.buildAuthorizationUrlWithJAR(config, parameters, key, options)
  assert.deepEqual([...address.searchParams.keys()].sort(), ['client_id', 'request'])
  const answer = await new Browser(base).decide(address, 'ada', 'correct horse', 'approve')
  return client.authorizationCodeGrant(config, answer, { pkceCodeVerifier, expectedState })
}

async function everything(alg, jwk) {
  const [key, options] = [await importKey(jwk), optionsFor(alg)]
  const config = await discover(alg, key, options)
  const metadata = config.serverMetadata()
  for (const endpoint of ['token', 'introspection', 'revocation']) {
    assert.ok(metadata[`${endpoint}_endpoint_auth_methods_supported`].includes('private_key_jwt'), endpoint)
    assert.ok(metadata[`${endpoint}_endpoint_auth_signing_alg_values_supported`].includes(alg), endpoint)
  }
  assert.equal(metadata.request_parameter_supported, true)
  assert.ok(metadata.request_object_signing_alg_values_supported.includes(alg))

  const first = await login(config, key, options)
  assert.equal(first.scope, 'user:read')
  const second = await client.refreshTokenGrant(config, first.refresh_token)
  assert.notEqual(second.access_token, first.access_token)
  const told = await client.tokenIntrospection(config, second.access_token)
  assert.deepEqual([told.active, told.sub, told.client_id], [true, 'ada', alg])
  await client.tokenRevocation(config, second.refresh_token)
  assert.deepEqual(await client.tokenIntrospection(config, second.access_token), { active: false })
  const own = await client.clientCredentialsGrant(config, { scope: 'user:write' })
  assert.deepEqual([own.scope, own.refresh_token], ['user:write', undefined])
}

// A client with the registered algorithm `EdDSA` may name it `Ed25519`, too.
async function names() {
  const key = await importKey(JSON.parse(readFileSync(file)).EdDSA)
  const config = await discover('EdDSA', key)
  assert.equal((await login(config, key)).scope, 'user:read')
}

// 401 comes with a challenge, which the package reports. The error code is in the response.
async function invalidClient(attempt) {
  const error = await attempt.then(() => assert.fail('invalid_client was expected'), (error) => error)
  assert.ok(error instanceof client.WWWAuthenticateChallengeError, error)
  assert.equal(error.status, 401)
  assert.equal((await error.response.json()).error, 'invalid_client')
}

// Another key with the same identifier and algorithm.
async function wrong(alg) {
  const { privateKey } = await jose.generateKeyPair(alg)
  const [key, options] = [{ key: privateKey, kid: `${alg}-2026` }, optionsFor(alg)]
  const config = await discover(alg, key, options)
  await invalidClient(client.clientCredentialsGrant(config))
  await invalidClient(client.refreshTokenGrant(config, 'made-up'))
  await invalidClient(client.tokenIntrospection(config, 'made-up'))
  await invalidClient(client.tokenRevocation(config, 'made-up'))
  const parameters = await request(client.randomPKCECodeVerifier(), client.randomState())
  const signed = await client.buildAuthorizationUrlWithJAR(config, parameters, key, options)
  // The user sees a page. The client has to sign its requests.
  for (const [address, error] of [
    [signed, 'invalid_request_object'],
    [client.buildAuthorizationUrl(config, parameters), 'invalid_request'],
  ]) {
    const answer = await fetch(address, { redirect: 'manual' })
    assert.equal(answer.status, 400)
    assert.ok((await answer.text()).includes(`<code>${error}</code>`), error)
  }
}

async function each(run) {
  for (const [alg, jwk] of Object.entries(JSON.parse(readFileSync(file)))) await run(alg, jwk)
}

const SCENARIOS = { make, names, everything: () => each(everything), wrong: () => each(wrong) }
await SCENARIOS[scenario]()
console.log(`done: ${scenario}`)
