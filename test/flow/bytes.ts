import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import type pg from 'pg'
import { onTestFinished } from 'vitest'
import type { TestQueue } from '../consumer/wiring.ts'
import { route } from '../queue/bench.ts'
import { firstLine } from '../support/process.ts'

const CHILD = fileURLToPath(new URL('bytes-child.ts', import.meta.url))

/** Publishes so many messages with a payload of a megabyte and routes them. */
export async function publishMegabytes(pool: pg.Pool, queue: TestQueue, count: number): Promise<void> {
  await pool.query(
    `insert into posthaste.outbox (message_id, exchange, routing_key, type, payload)
     select posthaste.uuid_v7(), '', $1, 'large', ('{"text":"' || repeat('x', 1000000) || '"}')::json
     from generate_series(1, $2)`,
    [queue.name, count],
  )
  await route(pool)
}

export interface Held {
  readonly seen: number
  readonly completed: number
  readonly mostMb: number
}

/** Consumes them in a process that may use so much memory, 50 to a transaction if it could. */
export async function consumeIn(
  megabytes: number,
  options: { url: string; queue: TestQueue; count: number; concurrency: number },
): Promise<Held> {
  const child = spawn(process.execPath, [`--max-old-space-size=${megabytes}`, CHILD, JSON.stringify(options)], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  onTestFinished(() => void child.kill('SIGKILL'))
  return JSON.parse(await firstLine(child))
}
