// What drivers share: they make their checks by every route and print what came of them as one line of JSON.

/** What to say, whom to call and which models there are; see `clients.drivers`. */
export const TALK = JSON.parse(process.env.TALK)

const checks = []

/** Adds a check: it is given the models of a route, and each of the cases in turn. */
export function check(name, run, cases = [undefined]) {
  for (const each of cases) {
    checks.push({ name: each === undefined ? name : `${name} ${each}`, run: (models) => run(models, each) })
  }
}

/** Returns the messages that the scripted provider was sent last. */
export async function sent() {
  const entries = await (await fetch(TALK.journal)).json()
  return JSON.parse(Buffer.from(entries.at(-1).body, 'base64').toString()).messages
}

/** Returns all that a stream yields. */
export async function all(stream) {
  const found = []
  for await (const item of stream) found.push(item)
  return found
}

async function errorOf(run, models) {
  await fetch(TALK.journal, { method: 'DELETE' })
  let timer
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error('the check did not end')), 20_000)
  })
  try {
    await Promise.race([run(models), late])
    return null
  } catch (error) {
    return String(error?.stack ?? error).slice(0, 2000)
  } finally {
    clearTimeout(timer)
  }
}

/** Makes all checks by all routes, and prints what came of them. */
export async function main() {
  const outcome = {}
  for (const [route, models] of Object.entries(TALK.models)) {
    outcome[route] = {}
    for (const { name, run } of checks) outcome[route][name] = await errorOf(run, { route, ...models })
  }
  console.log(JSON.stringify(outcome))
}
