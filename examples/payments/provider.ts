// A payment provider, as bad as they come: node provider.ts '{"log":"provider.ndjson", …}'. A server in a process of its own. It
// keeps what it does on disk, in one line of JSON per request and per execution, and never takes a line back.
import { createHash } from 'node:crypto'
import { appendFileSync } from 'node:fs'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout as pause } from 'node:timers/promises'

/** What happens to a request: what is executed, and what the caller gets to see of it. */
export const FATES = [
  'ok',
  'declined', // 402, and again whenever the key is repeated
  'error-before', // 500 from something in front: nothing is executed, nothing is remembered
  'error-after', // executed; the key answers 500 from now on
  'error-kept', // not executed; the key answers 500 from now on
  'silent-before', // nothing is executed, and there is no answer
  'silent-after', // executed, and there is no answer
  'cut-after', // executed, and the connection is cut when the body has been read
  'cut-within', // executed, and the connection is cut in the middle of the answer
] as const

export type Fate = (typeof FATES)[number]

export interface ProviderBrief {
  /** The file of its lines. */
  readonly log: string
  readonly seed?: number
  /** How long a key is remembered. */
  readonly windowMs?: number
  /** How long an execution takes, at least. */
  readonly delayMs?: number
  /** Shares of all requests, 0 to 1; what is left is `ok`. */
  readonly shares?: { readonly [Name in Fate]?: number }
  /** From this request for one key on all is well: even the worst provider has its good moments. */
  readonly mercy?: number
}

/** One line of the log. An operation is executed twice when two executions have one reference and kind. */
export type ProviderLine =
  | {
      readonly line: 'request'
      readonly at: string
      readonly kind: string
      readonly key: string
      readonly reference: string
      readonly cents: number
      /** What was sent, or that it was not: `cut`. */
      readonly answer: number | 'cut'
      readonly fate: Fate | 'replayed' | 'in-flight'
    }
  | {
      readonly line: 'execution'
      readonly at: string
      readonly kind: string
      readonly key: string
      readonly reference: string
      readonly cents: number
    }

interface Told {
  readonly status: number
  readonly body: object
}

interface Order {
  readonly kind: string
  readonly key: string
  readonly reference: string
  readonly cents: number
}

const told = JSON.parse(process.argv[2] ?? '{}') as ProviderBrief
const { log, seed = 1, windowMs = 86_400_000, delayMs = 2, shares = {}, mercy = 6 } = told

const remembered = new Map<string, Told>()
const requests = new Map<string, number>()
const inFlight = new Set<string>()
const executed = new Map<string, object>()

const server = createServer((request, response) => void answer(request, response).catch(() => response.destroy()))
server.keepAliveTimeout = 60_000
server.listen(0, '127.0.0.1', () => console.log((server.address() as AddressInfo).port))

// It ends with whoever started it.
process.stdin.resume().on('end', () => process.exit(0))

/** `GET /captures/<reference>` asks; `POST /captures` with an Idempotency-Key does. Any word is a kind. */
async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
  const [, kind = '', reference] = new URL(request.url ?? '', 'http://provider').pathname
    .split('/')
    .map(decodeURIComponent)
  if (request.method === 'GET') {
    const found = executed.get(`${kind}/${reference}`)
    return send(response, found ? { status: 200, body: found } : { status: 404, body: { code: 'not_found' } })
  }
  const key = String(request.headers['idempotency-key'] ?? '')
  const order = { kind, key, ...(JSON.parse(await text(request)) as { reference: string; cents: number }) }
  if (inFlight.has(key)) {
    note(response, order, 'in-flight')
    return send(response, { status: 409, body: { code: 'in_flight' } })
  }
  const known = remembered.get(key)
  if (known) {
    note(response, order, 'replayed')
    return send(response, known)
  }
  const fate = fateOf(order)
  note(response, order, fate)
  inFlight.add(key)
  try {
    await pause(delayMs)
    await meet(fate, order, response)
  } finally {
    inFlight.delete(key)
  }
}

async function meet(fate: Fate, order: Order, response: ServerResponse): Promise<void> {
  switch (fate) {
    case 'ok':
      return send(response, remember(order, { status: 200, body: execute(order) }))
    case 'declined':
      return send(response, remember(order, { status: 402, body: { code: 'card_declined' } }))
    case 'error-before':
      return send(response, { status: 500, body: { code: 'internal' } })
    case 'error-after':
      execute(order)
      return send(response, remember(order, { status: 500, body: { code: 'internal' } }))
    case 'error-kept':
      return send(response, remember(order, { status: 500, body: { code: 'internal' } }))
    case 'silent-before':
      return
    case 'silent-after':
      remember(order, { status: 200, body: execute(order) })
      return
    case 'cut-after':
      remember(order, { status: 200, body: execute(order) })
      response.destroy()
      return
    case 'cut-within': {
      const { body } = remember(order, { status: 200, body: execute(order) })
      const whole = JSON.stringify(body)
      response.writeHead(200, { 'content-type': 'application/json', 'content-length': whole.length })
      response.write(whole.slice(0, whole.length / 2), () => response.destroy())
    }
  }
}

function execute(order: Order): object {
  const { kind, reference, cents } = order
  write({ line: 'execution', at: new Date().toISOString(), ...order })
  const done = { id: `${kind}_${executed.size + 1}`, reference, cents }
  executed.set(`${kind}/${reference}`, done)
  return done
}

function remember({ key }: Order, answer: Told): Told {
  remembered.set(key, answer)
  setTimeout(() => remembered.delete(key), windowMs).unref()
  return answer
}

function send(response: ServerResponse, { status, body }: Told): void {
  const whole = JSON.stringify(body)
  response
    .writeHead(status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(whole) })
    .end(whole)
}

/** When the request is over, in whatever way, one line tells what was sent. */
function note(response: ServerResponse, order: Order, fate: Fate | 'replayed' | 'in-flight'): void {
  response.once('close', () => {
    const answer = response.writableFinished ? response.statusCode : ('cut' as const)
    write({ line: 'request', at: new Date().toISOString(), ...order, answer, fate })
  })
}

function write(line: ProviderLine): void {
  appendFileSync(log, `${JSON.stringify(line)}\n`)
}

/** The same for the same seed, key and number of the request, in whatever order requests come. */
function fateOf({ key }: Order): Fate {
  const number = (requests.get(key) ?? 0) + 1
  requests.set(key, number)
  if (number >= mercy) return 'ok'
  let chance = createHash('sha256').update(`${seed} ${key} ${number}`).digest().readUInt32BE() / 2 ** 32
  for (const fate of FATES) {
    chance -= shares[fate] ?? 0
    if (chance < 0) return fate
  }
  return 'ok'
}
