import { readFileSync } from 'node:fs'
import { Bench } from '../stand/bench.ts'
import { installed } from '../stand/filled.ts'
import { pause } from '../stand/load.ts'
import { OURS, type Peer, type Tuning } from '../stand/peer.ts'
import { able } from '../stand/rounds.ts'
import { runOn, startServer } from '../stand/server.ts'
import { topology } from '../stand/shop.ts'
import type { Worker } from '../stand/worker.ts'
import { rounded, type Workload } from '../stand/workload.ts'

const WIDTHS = [1, 20]
const WINDOW_MS = 20_000
const QUICK_WINDOW_MS = 6_000
const SETTLE_MS = 4_000
const TICKS_PER_SECOND = 100

interface Stand {
  readonly peer: Peer
  readonly queues: number
  readonly database: string
  readonly worker: Worker
}

/**
 * What a process that consumes 1 or 20 queues asks of the server while nothing happens: every statement counts, BEGIN and COMMIT
 * too, by pg_stat_statements, on a server of its own; and the processor time of both. The figure is that of the worse.
 */
export const idle: Workload = {
  name: 'idle',
  goals: [{ name: 'idle.statements', unit: 'statements/s and process', measure: { kind: 'below', target: 2 } }],
  deadlineMs: 180_000,
  quick: true,
  async run(bench) {
    const { able: peers, unable } = await able(['wake-up'])
    const server = await startServer(topology, {
      shared_preload_libraries: 'pg_stat_statements',
      'pg_stat_statements.track': 'top',
    })
    try {
      await using alone = new Bench(server, (line) => bench.say(line), { quick: bench.quick })
      await runOn(server.url, 'create extension pg_stat_statements')
      const stands: Stand[] = []
      for (const peer of peers) for (const queues of WIDTHS) stands.push(await started(alone, peer, queues))
      await pause(SETTLE_MS)
      const counted = await count(alone, stands)
      const worst = (name: string) =>
        Math.max(...counted.filter(({ peer }) => peer === name).map(({ statements }) => statements))
      const others = peers.filter(({ name }) => name !== OURS)
      return {
        measured: [
          {
            name: 'idle.statements',
            ours: worst(OURS),
            baseline: null,
            runs: WIDTHS.length,
            peers: { ...Object.fromEntries(others.map(({ name }) => [name, { figure: worst(name) }])), ...unable },
          },
        ],
        report: {
          counted,
          plots: [
            {
              name: 'idle-statements',
              title: 'Statements of a process that has nothing to do',
              kind: 'bars',
              x: 'queues',
              y: 'statements/s',
              rows: counted.map(({ peer, queues, statements }) => ({ side: peer, x: String(queues), y: statements })),
            },
          ],
        },
      }
    } finally {
      await server.stop()
    }
  },
}

async function started(bench: Bench, peer: Peer, width: number): Promise<Stand> {
  const queues = Array.from({ length: width }, (_, i) => `queue-${i + 1}`)
  const routes = Object.fromEntries(queues.map((queue) => [`to.${queue}`, [queue]]))
  const tuning: Tuning = { routes, wakeUps: true }
  const database = await installed(bench, peer, tuning)
  const worker = await bench.worker(database, peer, { ...tuning, queues, connections: 2, effects: false })
  return { peer, queues: width, database, worker }
}

async function count(bench: Bench, stands: readonly Stand[]) {
  const before = await Promise.all(stands.map((stand) => processorMs(bench, stand)))
  await runOn(bench.server.url, 'select pg_stat_statements_reset()')
  const startedAt = performance.now()
  await pause(bench.quick ? QUICK_WINDOW_MS : WINDOW_MS)
  const { rows } = await runOn(
    bench.server.url,
    `select d.datname, sum(s.calls)::float8 as calls
     from pg_stat_statements s join pg_database d on d.oid = s.dbid
     group by d.datname`,
  )
  const seconds = (performance.now() - startedAt) / 1_000
  const after = await Promise.all(stands.map((stand) => processorMs(bench, stand)))
  const calls = new Map(rows.map(({ datname, calls }) => [datname, calls as number]))
  return stands.map(({ peer, queues, database }, i) => ({
    peer: peer.name,
    queues,
    statements: rounded((calls.get(database) ?? 0) / seconds),
    processCpuMsPerSecond: rounded((after[i]!.process - before[i]!.process) / seconds),
    serverCpuMsPerSecond: rounded((after[i]!.server - before[i]!.server) / seconds),
  }))
}

async function processorMs(bench: Bench, { database, worker }: Stand) {
  const { cpuMs } = await worker.usage()
  const { rows } = await runOn(
    bench.server.url,
    `select pid from pg_stat_activity where datname = '${database}' and backend_type = 'client backend'`,
  )
  return { process: cpuMs, server: rows.reduce((sum, { pid }) => sum + backendMs(pid), 0) }
}

// Linux tells; elsewhere it is 0.
function backendMs(pid: number): number {
  try {
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ')
    return ((Number(fields[11]) + Number(fields[12])) * 1_000) / TICKS_PER_SECOND
  } catch {
    return 0
  }
}
