import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { ProviderBrief, ProviderLine } from './provider.ts'

/** A captured charge, or a refund, as the provider tells it. */
export interface Done {
  readonly id: string
  readonly reference: string
  readonly cents: number
}

/** An answer of the provider that is not the one that was hoped for. */
export class PspError extends Error {
  readonly status: number
  readonly code: string

  constructor(status: number, code: string) {
    super(`the provider answered ${status} ${code}`)
    this.status = status
    this.code = code
  }
}

export interface CallOptions {
  readonly idempotencyKey: string
  readonly signal: AbortSignal
}

/** The provider's client, as a vendor would ship it with its retries switched off. */
export class Psp {
  readonly #url: string

  constructor(url: string) {
    this.#url = url
  }

  capture(reference: string, cents: number, options: CallOptions): Promise<Done> {
    return this.#post('captures', reference, cents, options)
  }

  refund(reference: string, cents: number, options: CallOptions): Promise<Done> {
    return this.#post('refunds', reference, cents, options)
  }

  /** What the provider has under a reference of ours; undefined when it has nothing. */
  async find(kind: 'captures' | 'refunds', reference: string, signal: AbortSignal): Promise<Done | undefined> {
    const response = await fetch(`${this.#url}/${kind}/${encodeURIComponent(reference)}`, { signal })
    if (response.status === 404) return undefined
    return await answerOf(response)
  }

  async #post(kind: string, reference: string, cents: number, { idempotencyKey, signal }: CallOptions): Promise<Done> {
    const response = await fetch(`${this.#url}/${kind}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': idempotencyKey },
      body: JSON.stringify({ reference, cents }),
      signal,
    })
    return await answerOf(response)
  }
}

async function answerOf(response: Response): Promise<Done> {
  const body = (await response.json()) as Done & { code: string }
  if (!response.ok) throw new PspError(response.status, body.code)
  return body
}

export interface RunningProvider extends AsyncDisposable {
  readonly url: string
  /** Everything it has written down so far. */
  lines(): ProviderLine[]
}

/** Starts the provider in a process of its own; it ends when it is told to, or with us. */
export async function startProvider(brief: ProviderBrief): Promise<RunningProvider> {
  const file = fileURLToPath(new URL('provider.ts', import.meta.url))
  const child = spawn(process.execPath, [file, JSON.stringify(brief)], {
    stdio: ['pipe', 'pipe', 'inherit'],
    detached: true,
  })
  const [port] = (await once(createInterface({ input: child.stdout! }), 'line')) as [string]
  return {
    url: `http://127.0.0.1:${port}`,
    lines: () => readLines(brief.log),
    async [Symbol.asyncDispose]() {
      const gone = once(child, 'exit')
      child.stdin!.end()
      await gone
    },
  }
}

/** The lines of a provider's log. */
export function readLines(log: string): ProviderLine[] {
  return readFileSync(log, 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as ProviderLine)
}
