// openid-client against a running server. Arguments: the server's address and what to do, one of SCENARIOS.

import assert from 'node:assert/strict'
import * as client from 'openid-client'
import { Browser } from './browser.mjs'

const [base, scenario] = process.argv.slice(2)
const CALLBACK = 'https://app.example/cb'
const API = new URL('/api/me', base)

// The characters that RFC 6749 §2.3.1 requires to be escaped in a Basic header.
const SECRET = 's3cret: +%/~&=?'
const WEB = ['web', client.ClientSecretBasic(SECRET)]
const WEB_BY_BODY = ['web', client.ClientSecretPost(SECRET)]
const PUBLIC = ['public', client.None()]
const MACHINE = ['machine', client.ClientSecretBasic('machine-secret')]
const RESOURCE_SERVER = ['api', client.ClientSecretBasic('api-secret')]

// Discovery by RFC 8414. The client accepts http only with an option; the server accepts http on loopback addresses.
function discover([id, authentication]) {
  const options = { algorithm: 'oauth2', execute: [client.allowInsecureRequests] }
  return client.discovery(new URL(base), id, undefined, authentication, options)
}

async function ask(config, scope, decision = 'approve') {
  const verifier = client.randomPKCECodeVerifier()
  const state = client.randomState()
  const address = client.buildAuthorizationUrl(config, {
    redirect_uri: CALLBACK,
    scope,
    state,
    code_challenge: await client.calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
  })
  const answer = await new Browser(base).decide(address, 'ada', 'correct horse', decision)
  return { answer, checks: { pkceCodeVerifier: verifier, expectedState: state } }
}

async function tokens(config, scope) {
  const { answer, checks } = await ask(config, scope)
  return client.authorizationCodeGrant(config, answer, checks)
}

async function profile(config, accessToken) {
  const answer = await client.fetchProtectedResource(config, accessToken, API, 'GET')
  return answer.json()
}

async function refuses(config, accessToken) {
  await assert.rejects(client.fetchProtectedResource(config, accessToken, API, 'GET'), (error) => {
    assert.ok(error instanceof client.WWWAuthenticateChallengeError, error)
    const [{ scheme, parameters }] = error.cause
    assert.deepEqual([error.status, scheme, parameters.error], [401, 'bearer', 'invalid_token'])
    return true
  })
}

function answers(error) {
  return (thrown) => {
    assert.ok(thrown instanceof client.ResponseBodyError, thrown)
    assert.deepEqual([thrown.status, thrown.error], [400, error])
    return true
  }
}

async function codeFlow(who) {
  const config = await discover(who)
  const { answer, checks } = await ask(config, 'user:read user:write')
  const first = await client.authorizationCodeGrant(config, answer, checks)
  assert.equal(first.token_type, 'bearer')
  assert.equal(first.scope, 'user:read user:write')
  assert.ok(first.expiresIn() > 3500 && first.expiresIn() <= 3600, String(first.expiresIn()))
  const { sub, client_id: id } = await profile(config, first.access_token)
  assert.deepEqual([sub, id], ['ada', who[0]])

  const narrower = await client.refreshTokenGrant(config, first.refresh_token, { scope: 'user:read' })
  assert.equal(narrower.scope, 'user:read')
  assert.notEqual(narrower.access_token, first.access_token)
  assert.notEqual(narrower.refresh_token, first.refresh_token)
  assert.equal((await profile(config, narrower.access_token)).scope, 'user:read')
  const wide = await client.refreshTokenGrant(config, narrower.refresh_token)
  assert.equal(wide.scope, 'user:read user:write')
}

const SCENARIOS = {
  async discovery() {
    const config = await discover(WEB)
    const metadata = config.serverMetadata()
    assert.equal(metadata.issuer, base)
    for (const [name, path] of [
      ['authorization_endpoint', '/authorize'],
      ['token_endpoint', '/token'],
      ['revocation_endpoint', '/revoke'],
      ['introspection_endpoint', '/introspect'],
    ]) {
      assert.equal(metadata[name], base + path)
    }
    assert.ok(metadata.supportsPKCE('S256'))
    assert.ok(!metadata.supportsPKCE('plain'))
    assert.equal(metadata.authorization_response_iss_parameter_supported, true)
    assert.deepEqual(metadata.response_types_supported, ['code'])
    assert.ok(!metadata.grant_types_supported.some((grant) => ['implicit', 'password'].includes(grant)))
  },

  'code-basic': () => codeFlow(WEB),
  'code-body': () => codeFlow(WEB_BY_BODY),
  'code-public': () => codeFlow(PUBLIC),

  // The client refuses an answer that another server could have sent. Its code is still valid at the right server.
  async issuer() {
    const config = await discover(PUBLIC)
    const { answer, checks } = await ask(config, 'user:read')
    assert.equal(answer.searchParams.get('iss'), base)
    const [other, none] = [new URL(answer), new URL(answer)]
    other.searchParams.set('iss', 'https://other.example')
    none.searchParams.delete('iss')
    for (const mixedUp of [other, none]) {
      await assert.rejects(client.authorizationCodeGrant(config, mixedUp, checks), (error) => {
        assert.match(error.cause.message, /"iss"/)
        return true
      })
    }
    assert.ok((await client.authorizationCodeGrant(config, answer, checks)).access_token)
  },

  async denial() {
    const config = await discover(WEB)
    const { answer, checks } = await ask(config, 'user:read', 'deny')
    await assert.rejects(client.authorizationCodeGrant(config, answer, checks), (error) => {
      assert.ok(error instanceof client.AuthorizationResponseError, error)
      assert.equal(error.error, 'access_denied')
      return true
    })
  },

  async 'client-credentials'() {
    const config = await discover(MACHINE)
    const answer = await client.clientCredentialsGrant(config, { scope: 'user:read' })
    assert.deepEqual([answer.token_type, answer.scope], ['bearer', 'user:read'])
    assert.equal(answer.refresh_token, undefined)
  },

  async revocation() {
    const config = await discover(WEB)
    const first = await tokens(config, 'user:read')
    await client.tokenRevocation(config, first.access_token)
    await refuses(config, first.access_token)
    // Only the access token is revoked. Its grant stays live until a refresh token is revoked.
    const second = await client.refreshTokenGrant(config, first.refresh_token)
    assert.equal((await profile(config, second.access_token)).sub, 'ada')
    await client.tokenRevocation(config, second.refresh_token, { token_type_hint: 'refresh_token' })
    await refuses(config, second.access_token)
    await assert.rejects(client.refreshTokenGrant(config, second.refresh_token), answers('invalid_grant'))
    // Revoking a revoked or unknown token succeeds (RFC 7009 §2.2).
    await client.tokenRevocation(config, second.refresh_token)
    await client.tokenRevocation(config, 'made-up')
  },

  async introspection() {
    const config = await discover(WEB)
    const { access_token: accessToken, refresh_token: refreshToken } = await tokens(config, 'user:read')
    const api = await discover(RESOURCE_SERVER)
    const { iat, exp, ...rest } = await client.tokenIntrospection(api, accessToken)
    assert.deepEqual(rest, {
      active: true,
      aud: `${base}/api`,
      client_id: 'web',
      iss: base,
      scope: 'user:read',
      sub: 'ada',
      token_type: 'Bearer',
    })
    assert.equal(exp - iat, 3600)
    const inactive = { active: false }
    // No client can introspect a refresh token. The owner can introspect its access tokens; another client learns
    // nothing.
    assert.deepEqual(await client.tokenIntrospection(api, refreshToken), inactive)
    assert.deepEqual(await client.tokenIntrospection(api, 'made-up'), inactive)
    assert.deepEqual(await client.tokenIntrospection(await discover(MACHINE), accessToken), inactive)
    assert.deepEqual(await client.tokenIntrospection(config, refreshToken), inactive)
    assert.equal((await client.tokenIntrospection(config, accessToken)).active, true)
    await client.tokenRevocation(config, refreshToken)
    assert.deepEqual(await client.tokenIntrospection(api, accessToken), inactive)
  },

  async refusals() {
    // 401 comes with a challenge, which this client reports instead of the error code.
    const wrong = await discover(['machine', client.ClientSecretBasic('wrong')])
    await assert.rejects(client.clientCredentialsGrant(wrong), (error) => {
      assert.ok(error instanceof client.WWWAuthenticateChallengeError, error)
      assert.deepEqual([error.status, error.cause[0].scheme], [401, 'basic'])
      return true
    })
    const machine = await discover(MACHINE)
    await assert.rejects(client.clientCredentialsGrant(machine, { scope: 'made-up' }), answers('invalid_scope'))
    await assert.rejects(client.refreshTokenGrant(machine, 'x'), answers('unauthorized_client'))
    const { answer, checks } = await ask(await discover(PUBLIC), 'user:read')
    const pkceCodeVerifier = client.randomPKCECodeVerifier()
    const stolen = client.authorizationCodeGrant(await discover(PUBLIC), answer, { ...checks, pkceCodeVerifier })
    await assert.rejects(stolen, answers('invalid_grant'))
  },
}

await SCENARIOS[scenario]()
console.log(`done: ${scenario}`)
