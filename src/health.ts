import { ask } from './ask.ts'
import type { Context } from './context.ts'
import { schemaAnswers } from './postgres/health.ts'

/** How a process is, for those who decide whether it is sent work. */
export interface Health {
  /** Started, not stopping, and the database answered within two seconds and has the schema. */
  readonly ready: boolean
  /** What `ready` consists of. */
  readonly checks: { readonly started: boolean; readonly database: boolean }
  /** What is no condition of `ready`: a relay that stands by is as good as the one on duty. */
  readonly relay: 'on-duty' | 'standing-by' | 'none'
  /** Whether notifications arrive; without them everything works by polling. */
  readonly listening: boolean
}

/** What a Posthaste knows of itself without asking anybody. */
export interface Condition {
  readonly started: boolean
  readonly relay: Health['relay']
}

const PATIENCE_MS = 2_000
const REMEMBERED_MS = 1_000

/** Looks at most once a second, however many ask. */
export class HealthCheck {
  readonly #context: Context
  readonly #condition: () => Condition
  #answer: Promise<boolean> | undefined
  #askedAt = Number.NEGATIVE_INFINITY

  constructor(context: Context, condition: () => Condition) {
    this.#context = context
    this.#condition = condition
  }

  async health(): Promise<Health> {
    const database = await this.#database()
    const { started, relay } = this.#condition()
    const { healthy: listening } = this.#context.listener
    return { ready: started && database, checks: { started, database }, relay, listening }
  }

  #database(): Promise<boolean> {
    if (performance.now() - this.#askedAt < REMEMBERED_MS) return this.#answer!
    this.#askedAt = performance.now()
    this.#answer = inTime(ask(this.#context, schemaAnswers(this.#context.tables)))
    return this.#answer
  }
}

/** What is asked after: a Posthaste. */
export interface HasHealth {
  /** `posthaste.health()`. */
  health(): Promise<Health>
}

/** What is read of node:http's request, or of one shaped like it. */
export interface ProbeRequest {
  /** The path, as it was asked for. */
  readonly url?: string | undefined
}

/** What is used of node:http's response, or of one shaped like it. */
export interface ProbeResponse {
  /** The status and the headers. */
  writeHead(status: number, headers: Record<string, string>): unknown
  /** The whole body. */
  end(body: string): unknown
}

/**
 * Answers a supervisor's probes. `/live` is 200 as long as this process answers, whatever the database does: restarting would not
 * help it. `/ready` is 200 when `posthaste.health()` says ready, else 503. Both tell why in JSON; any other path is 404. Paths may
 * have a prefix, as where an Express application has `app.get(['/live', '/ready'], healthHandler(posthaste))`.
 *
 * ```ts
 * import { createServer } from 'node:http'
 *
 * createServer(healthHandler(posthaste)).listen(9090)
 * ```
 */
export function healthHandler(posthaste: HasHealth): (request: ProbeRequest, response: ProbeResponse) => Promise<void> {
  return async ({ url = '' }, response) => {
    const { status, ...body } = await answerTo(url, posthaste)
    response.writeHead(status, { 'content-type': 'application/json', 'cache-control': 'no-store' })
    response.end(`${JSON.stringify({ version: 1, ...body })}\n`)
  }
}

async function answerTo(url: string, posthaste: HasHealth) {
  const path = url.replace(/[?#].*/, '')
  if (path.endsWith('/live')) return { status: 200, live: true }
  if (!path.endsWith('/ready')) return { status: 404, paths: ['/live', '/ready'] }
  const health = await posthaste.health()
  return { status: health.ready ? 200 : 503, ...health }
}

function inTime(answer: Promise<unknown>): Promise<boolean> {
  const { promise, resolve } = Promise.withResolvers<boolean>()
  const timer = setTimeout(() => resolve(false), PATIENCE_MS)
  answer.then(
    () => resolve(true),
    () => resolve(false),
  )
  return promise.finally(() => clearTimeout(timer))
}
