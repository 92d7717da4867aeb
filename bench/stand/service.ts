// A process of a service: a relay, consumers, or both. Started by Child; ends when the channel to its parent does.
import pg from 'pg'
import { Posthaste, pgDatabase } from '../../src/index.ts'
import type { ChildOptions, Word } from './child.ts'
import { clock } from './clock.ts'
import { OrderPlaced, topology, twentyQueues } from './shop.ts'

const options = JSON.parse(process.argv[2]!) as ChildOptions
const pool = new pg.Pool({ connectionString: options.url })
const posthaste = new Posthaste({
  database: pgDatabase(pool),
  topology: options.consume === 'twenty queues' ? twentyQueues : topology,
})

process.on('disconnect', () => void stop())
posthaste.on('relay-on-duty', () => say({ word: 'on duty' }))
posthaste.on('listening', () => say({ word: 'started' }))
posthaste.on('error', ({ where, error }) => console.error(`bench: ${where}: ${error.message}`))

consume()
posthaste.start({ relay: options.relay }).catch((error) => say({ word: 'failed', reason: String(error) }))

function consume(): void {
  if (options.consume === 'nothing') return
  const queues = options.consume === 'billing' ? topology.queues : twentyQueues.queues
  for (const { name } of queues) {
    posthaste.consumer(name).on(OrderPlaced, ({ id }) => {
      if (options.tell) say({ word: 'handled', id, at: clock() })
    })
  }
}

function say(word: Word): void {
  if (process.connected) process.send!(word)
}

async function stop(): Promise<void> {
  setTimeout(() => process.exit(1), 3_000).unref()
  await posthaste.stop({ timeoutMs: 1_000 }).catch(() => {})
  process.exit(0)
}
