// The user: a browser without scripts that keeps its cookies, follows no redirect by itself and fills in forms.

const ENTITIES = { '&quot;': '"', '&#39;': "'", '&lt;': '<', '&gt;': '>', '&amp;': '&' }

export class Browser {
  #base
  #cookies = new Map()

  constructor(base) {
    this.#base = base
  }

  // Takes an application's request to the server, logs in, decides, and returns the address of the last redirect.
  async decide(address, username, password, decision) {
    const login = await this.#send(address)
    const consent = await this.#follow(await this.#submit(login, '/login', { username, password }))
    const scopes = fields(form(consent.body, '/consent'), 'checkbox')
    const { location } = await this.#submit(consent, '/consent', [...scopes, ['decision', decision]])
    if (location === null) throw new Error('the decision led nowhere')
    return new URL(location)
  }

  async #send(address, init = {}) {
    const cookie = [...this.#cookies].map(([name, value]) => `${name}=${value}`).join('; ')
    const url = new URL(address, this.#base)
    const answer = await fetch(url, { ...init, redirect: 'manual', headers: { cookie } })
    for (const line of answer.headers.getSetCookie()) {
      const [name, value] = line.split(';')[0].split('=')
      this.#cookies.set(name, value)
    }
    return { status: answer.status, location: answer.headers.get('location'), body: await answer.text() }
  }

  async #submit(page, action, entered) {
    const values = Array.isArray(entered) ? entered : Object.entries(entered)
    const body = new URLSearchParams([...fields(form(page.body, action), 'hidden'), ...values])
    return this.#send(action, { method: 'POST', body })
  }

  async #follow(page) {
    while (page.location !== null) page = await this.#send(page.location)
    return page
  }
}

function form(body, action) {
  const found = body.split('<form').find((form) => form.includes(`action="${action}"`))
  if (found === undefined) throw new Error(`no form leads to ${action}: ${body}`)
  return found.split('</form>')[0]
}

// The names and values of the form's fields of a type.
function fields(form, type) {
  const inputs = form.split('<input').slice(1).filter((input) => input.includes(`type="${type}"`))
  return inputs.map((input) => [attribute(input, 'name'), attribute(input, 'value')])
}

function attribute(tag, name) {
  const value = tag.split(`${name}="`)[1].split('"')[0]
  return value.replace(/&(quot|#39|lt|gt|amp);/g, (entity) => ENTITIES[entity])
}
