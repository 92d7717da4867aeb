import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { randomOf } from './order.ts'
import type { Staff } from './staff.ts'

/** What was killed. `withWorkInFlight` are the workers among them that died inside a transaction that held a claim. */
export interface Kills {
  relay: number
  worker: number
  backend: number
  withWorkInFlight: number
}

type Target = Exclude<keyof Kills, 'withWorkInFlight'>

interface Blow {
  readonly target: Target
  /** How many orders have been placed when it falls. */
  readonly after: number
}

export interface ChaosOptions {
  readonly orders: number
  readonly seed: number
  readonly staff: Staff
  readonly url: string
  readonly placed: () => number
}

/** Orders per blow, and the least and the most blows of a kind. */
const MEASURE: { readonly [Kind in Target]: { every: number; least: number; most: number } } = {
  worker: { every: 500, least: 2, most: 24 },
  relay: { every: 1_500, least: 1, most: 8 },
  backend: { every: 350, least: 2, most: 40 },
}

// So much of the work may go on while a blow is due: there is something in hand to be hit, and none is left over at the end.
const SLACK = 0.1
const TRIES = 4
const SEARCH_MS = 2_000
const PROBE_MS = 3

/**
 * Kills processes with SIGKILL and terminates connections, by the progress of the work and not by the clock: producers are held
 * back until the blow that is due has fallen.
 */
export class Chaos {
  readonly kills: Kills = { relay: 0, worker: 0, backend: 0, withWorkInFlight: 0 }
  readonly #options: ChaosOptions
  readonly #random: () => number
  readonly #plan: Blow[]
  readonly #aims: readonly Aim[] = [COMMITTING, CLAIMING, WRITING, ROUTING]
  #fallen = 0

  constructor(options: ChaosOptions) {
    this.#options = options
    this.#random = randomOf(options.seed, 0)
    this.#plan = planOf(options.orders, this.#random)
  }

  /** How many orders may be placed until the next blow. */
  get frontier(): number {
    const { orders } = this.#options
    return this.over ? orders : Math.ceil(this.#plan[this.#fallen]!.after + SLACK * orders)
  }

  get over(): boolean {
    return this.#fallen === this.#plan.length
  }

  async rage(signal: AbortSignal): Promise<void> {
    const client = new pg.Client({ connectionString: this.#options.url, application_name: 'shop chaos' })
    client.on('error', () => {})
    await client.connect()
    try {
      for (const { target, after } of this.#plan) {
        while (this.#options.placed() < after) await pause(10, undefined, { signal })
        await this.#strike[target](client, signal)
        this.#fallen += 1
      }
    } finally {
      await client.end()
    }
  }

  readonly #strike: { readonly [Kind in Target]: (client: pg.Client, signal: AbortSignal) => Promise<void> } = {
    relay: async () => {
      const [relay] = this.#options.staff.present('relay')
      if (relay === undefined) return
      await this.#options.staff.kill(relay)
      this.kills.relay += 1
    },

    // Whoever is seen with a claim in hand may have committed it before the signal arrives: then it is another's turn.
    worker: async (client, signal) => {
      for (let tries = 0; tries < TRIES; tries += 1) {
        const busy = await this.#search(client, CLAIMS, 'worker', signal)
        const name = busy?.name ?? this.#anyWorker()
        if (name === undefined) continue
        await this.#options.staff.kill(name)
        this.kills.worker += 1
        if (busy && (await rolledBack(client, busy.xid, signal))) {
          this.kills.withWorkInFlight += 1
          return
        }
      }
    },

    backend: async (client, signal) => {
      const aim = this.#aims[this.kills.backend % this.#aims.length]!
      const deadline = Date.now() + SEARCH_MS
      for (;;) {
        const late = Date.now() > deadline
        const { rows } = await client.query(late ? ANYBODY : aim)
        if (rows.length > 0) this.kills.backend += 1
        if (rows.length > 0 || late) return
        await pause(PROBE_MS, undefined, { signal })
      }
    },
  }

  /** The process that most lately began to work on a claim. */
  async #search(client: pg.Client, text: string, role: 'worker', signal: AbortSignal): Promise<Busy | undefined> {
    const deadline = Date.now() + SEARCH_MS
    while (Date.now() < deadline) {
      const { rows } = await client.query<Busy>(text)
      const present = this.#options.staff.present(role)
      const busy = rows.find(({ name }) => present.includes(name))
      if (busy) return busy
      await pause(PROBE_MS, undefined, { signal })
    }
    return undefined
  }

  #anyWorker(): string | undefined {
    const present = this.#options.staff.present('worker')
    return present[Math.floor(this.#random() * present.length)]
  }
}

function planOf(orders: number, random: () => number): Blow[] {
  const blows = Object.entries(MEASURE).flatMap(([target, { every, least, most }]) => {
    const count = Math.min(most, Math.max(least, Math.floor(orders / every)))
    return Array.from({ length: count }, (_, index) => ({
      target: target as Target,
      after: Math.floor(orders * (0.03 + (0.85 * (index + random())) / count)),
    }))
  })
  return blows.sort((one, other) => one.after - other.after)
}

interface Busy {
  readonly name: string
  readonly xid: string
}

// A worker's transaction that has written, and holds the locks of a claim: on what is ready and on the processed ids.
// pg_stat_activity shows 32 bits of the transaction's number, pg_xact_status wants all 64.
const CLAIMS = `
with next as (select pg_snapshot_xmax(pg_current_snapshot())::text::bigint as xid)
select substr(a.application_name, 6) as name,
  (n.xid - (((n.xid - a.backend_xid::text::bigint + 2147483648) & 4294967295) - 2147483648))::text as xid
from next n, pg_stat_activity a
where a.datname = current_database() and a.application_name ~ '^shop (billing|inventory|notifications)' and a.backend_xid is not null
  and (select count(distinct l.relation) from pg_locks l
       where l.pid = a.pid and l.mode = 'RowExclusiveLock'
         and l.relation in ('posthaste.ready'::regclass, 'posthaste.inbox'::regclass)) = 2
order by a.xact_start desc`

type Aim = string

const terminate = (which: string): Aim => `
select pg_terminate_backend(pid)
from (select pid from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid() and ${which} order by random() limit 1) a`

// A COMMIT on its way: the producer will not learn what became of it.
const COMMITTING = terminate(`application_name ~ '^shop producer' and state = 'active' and query ilike 'commit%'`)
const CLAIMING = terminate(`application_name ~ '^shop (billing|inventory|notifications)' and backend_xid is not null
  and exists (select from pg_locks l where l.pid = pg_stat_activity.pid and l.relation = 'posthaste.inbox'::regclass)`)
const WRITING = terminate(`application_name ~ '^shop producer' and backend_xid is not null`)
const ROUTING = terminate(`application_name ~ '^(shop relay|posthaste)'`)
const ANYBODY = terminate(`application_name ~ '^(shop [a-z]+-|shop relay|posthaste)'`)

// A transaction that was open when it was seen and is rolled back now was open when its process died.
async function rolledBack(client: pg.Client, xid: string, signal: AbortSignal): Promise<boolean> {
  for (;;) {
    const { rows } = await client.query<{ status: string }>('select pg_xact_status($1::xid8) as status', [xid])
    if (rows[0]?.status !== 'in progress') return rows[0]?.status === 'aborted'
    await pause(PROBE_MS, undefined, { signal })
  }
}
