// A consumer in a process of its own, to be killed: node child.ts <json>. Says "ready" when it consumes.
import { flushCompileCache } from 'node:module'
import { EFFECT, type TestQueue, wire } from './wiring.ts'

export interface ChildOptions {
  readonly url: string
  readonly queue: TestQueue
  readonly concurrency: number
  readonly batchSize: number | 'auto'
  /** The message that kills whoever handles it. */
  readonly poison?: number
  /** How long an attempt takes, in milliseconds. */
  readonly attemptMs?: number
  readonly relay?: boolean
}

const options = JSON.parse(process.argv[2]!) as ChildOptions
const { url, queue, concurrency, batchSize, poison, attemptMs = 0, relay = false } = options
const { consumer } = wire(url, { relay, max: concurrency + 3 })

await consumer(queue, { concurrency, batchSize })
  .otherwise(async ({ id, payload }, { tx }) => {
    const { n } = payload as { n: number }
    await tx.query(EFFECT, [queue.name, id, n])
    if (attemptMs > 0) await new Promise((resolve) => setTimeout(resolve, attemptMs))
    if (n === poison) process.kill(process.pid, 'SIGKILL')
  })
  .start()
flushCompileCache() // who is killed leaves nothing for the next by itself
console.log('ready')
