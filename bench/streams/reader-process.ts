// A process that reads a stream for some groups. Started by Reader; ends when the channel to its parent does.
import pg from 'pg'
import { Posthaste, pgDatabase } from '../../src/index.ts'
import { clock } from '../stand/clock.ts'
import { percentile } from '../stand/runs.ts'
import { Sensed, streams } from './ledger.ts'
import type { ReaderAnswer, ReaderAsked, ReaderTask } from './reader.ts'

const { url, groups, relay, batchSize, concurrency, live, from } = JSON.parse(process.argv[2]!) as ReaderTask
const handled: Record<string, number> = Object.fromEntries(groups.map((group) => [group, 0]))
let latencies: number[] = []

const pool = new pg.Pool({ connectionString: url, max: groups.length * concurrency + 6 })
pool.on('error', () => {})
const posthaste = new Posthaste({ database: pgDatabase(pool), topology: streams })
posthaste.on('error', ({ where, error }) => console.error(`bench: ${where}: ${error.message}`))
for (const group of groups) {
  const tells = live.includes(group)
  posthaste.consumer('ledger', { group, batchSize, concurrency, from }).onBatch(Sensed, (deliveries) => {
    handled[group]! += deliveries.length
    if (!tells) return
    const now = clock()
    for (const { payload } of deliveries) latencies.push(now - payload.at)
  })
}
posthaste.start({ relay }).then(
  () => say({ word: 'ready' }),
  (error) => say({ word: 'failed', reason: String(error) }),
)

process.on('message', (asked: ReaderAsked) => {
  if (asked === 'begin') latencies = []
  if (asked !== 'usage') return
  const { length } = latencies
  const p99Ms = length > 0 ? percentile(latencies, 0.99) : null
  say({ word: 'usage', handled: { ...handled }, rssMb: process.memoryUsage.rss() / 2 ** 20, p99Ms, measured: length })
})
process.on('disconnect', () => void stop())

function say(answer: ReaderAnswer): void {
  if (process.connected) process.send!(answer)
}

async function stop(): Promise<void> {
  setTimeout(() => process.exit(1), 5_000).unref()
  await posthaste.stop({ timeoutMs: 1_000 }).catch(() => {})
  process.exit(0)
}
