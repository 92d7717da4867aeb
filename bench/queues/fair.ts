import { setTimeout as sleep } from 'node:timers/promises'
import { z } from 'zod'
import { defineMessage, defineTopology, Posthaste, pgDatabase } from '../../src/index.ts'
import { percentile } from '../stand/runs.ts'
import { rounded, type Workload } from '../stand/workload.ts'

const KEYS = 1_000
const PER_SECOND = 200
const CONNECTIONS = 10
const SEED = 7

const Job = defineMessage('job', z.object({ tenant: z.string(), at: z.number() }), { key: ({ tenant }) => tenant })
const fair = defineTopology({ queues: { jobs: { from: [Job], fair: true } } })

/** A thousand keys, one of which floods the queue before and while the others have a message now and then: how long theirs wait. */
export const fairness: Workload = {
  name: 'fair',
  goals: [{ name: 'fair.p99', unit: 'ms', measure: { kind: 'below', target: 1_000 } }],
  deadlineMs: 120_000,
  async run(bench) {
    const [flood, seconds] = bench.quick ? [20_000, 4] : [300_000, 15]
    const database = await bench.database()
    const pool = bench.pool(database, CONNECTIONS + 6)
    const handle = pgDatabase(pool)
    const posthaste = new Posthaste({ database: handle, topology: fair })
    const waits: number[] = []
    let flooded = 0
    posthaste.consumer('jobs', { concurrency: CONNECTIONS }).on(Job, async ({ payload }, { tx }) => {
      await tx.query('select 1')
      if (payload.tenant === 'flood') flooded += 1
      else waits.push(performance.now() - payload.at)
    })
    const flooding = (count: number) => {
      const jobs = Array.from({ length: count }, () => Job.create({ tenant: 'flood', at: 0 }))
      return handle.transaction((tx) => posthaste.publish(tx, jobs))
    }
    await posthaste.start({ consumers: false })
    const routed = Promise.withResolvers<void>()
    let deliveries = 0
    posthaste.on('routed', (event) => {
      deliveries += event.deliveries
      if (deliveries >= flood) routed.resolve()
    })
    for (let sent = 0; sent < flood; sent += 5_000) await flooding(5_000)
    await routed.promise
    await posthaste.stop()
    await posthaste.start()
    let sent = 0
    const random = seeded(SEED)
    for (let tick = 0; tick < seconds * 10; tick += 1) {
      const at = performance.now()
      const others = Array.from({ length: PER_SECOND / 10 }, () =>
        Job.create({ tenant: `t${Math.floor(random() * (KEYS - 1))}`, at }),
      )
      await handle.transaction((tx) => posthaste.publish(tx, others))
      await flooding(PER_SECOND)
      sent += others.length
      await sleep(Math.max(0, at + 100 - performance.now()))
    }
    const deadline = performance.now() + 30_000
    while (waits.length < sent && performance.now() < deadline) await sleep(20)
    await posthaste.stop({ timeoutMs: 5_000 })
    await bench.end(pool)
    if (waits.length < sent) throw new Error(`Cannot measure "fair.p99": ${waits.length} of ${sent} were handled`)
    return {
      measured: [{ name: 'fair.p99', ours: percentile(waits, 0.99), baseline: null, runs: 1 }],
      report: { keys: KEYS, flood, others: sent, flooded, p50Ms: rounded(percentile(waits, 0.5)) },
    }
  },
}

function seeded(seed: number): () => number {
  let state = seed
  return () => {
    state = (state * 1_103_515_245 + 12_345) % 2_147_483_648
    return state / 2_147_483_648
  }
}
