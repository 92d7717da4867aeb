import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { randomOf } from '../../src/demo/order.ts'
import type { Crew, Role } from './crew.ts'

/** What was killed: processes, and connections of theirs. `calling` are the chargers among them that died with a call under way. */
export interface Kills {
  charger: number
  relay: number
  checkout: number
  connection: number
  calling: number
}

export interface ChaosOptions {
  readonly url: string
  readonly payments: number
  readonly seed: number
  readonly crew: Crew
  /** How many payments there are, and how many of them have come to an end. */
  readonly requested: () => number
  readonly settled: () => number
}

type Target = Exclude<keyof Kills, 'calling'>

/** Payments per blow, and the least and the most blows of a kind. */
const MEASURE: { readonly [Kind in Target]: { every: number; least: number; most: number } } = {
  charger: { every: 60, least: 3, most: 40 },
  relay: { every: 500, least: 1, most: 5 },
  checkout: { every: 1_000, least: 1, most: 3 },
  connection: { every: 60, least: 3, most: 40 },
}

interface Blow {
  readonly target: Target
  /** How much of the work has been done when it falls. */
  readonly after: number
}

/** Kills processes with SIGKILL and terminates connections, by the progress of the work and not by the clock. */
export class Chaos {
  readonly kills: Kills = { charger: 0, relay: 0, checkout: 0, connection: 0, calling: 0 }
  readonly #options: ChaosOptions
  readonly #random: () => number

  constructor(options: ChaosOptions) {
    this.#options = options
    this.#random = randomOf(options.seed, 0)
  }

  async rage(signal: AbortSignal): Promise<void> {
    const client = new pg.Client({ connectionString: this.#options.url, application_name: 'chaos' })
    client.on('error', () => {})
    await client.connect()
    try {
      const { requested, settled } = this.#options
      const [tills, others] = partition(this.#plan(), ({ target }) => target === 'checkout')
      const fall = async (blows: readonly Blow[], progress: () => number) => {
        for (const { target, after } of blows) {
          while (progress() < after) await pause(10, undefined, { signal })
          await this.#strike(target, client)
        }
      }
      await Promise.all([fall(tills, requested), fall(others, settled)])
    } finally {
      await client.end()
    }
  }

  #plan(): Blow[] {
    const { payments } = this.#options
    const blows = Object.entries(MEASURE).flatMap(([target, { every, least, most }]) => {
      const count = Math.min(most, Math.max(least, Math.floor(payments / every)))
      const when = (index: number) => Math.floor(payments * (0.02 + (0.9 * (index + this.#random())) / count))
      return Array.from({ length: count }, (_, index) => ({ target: target as Target, after: when(index) }))
    })
    return blows.sort((one, other) => one.after - other.after)
  }

  async #strike(target: Target, client: pg.Client): Promise<void> {
    if (target === 'connection') {
      const { rows } = await client.query(CUT)
      this.kills.connection += rows.length
      return
    }
    const calling = target === 'charger' ? await this.#calling(client) : undefined
    const pid = calling ?? this.#any(target)
    if (pid === undefined || !(await this.#options.crew.kill(pid))) return
    this.kills[target] += 1
    if (calling !== undefined) this.kills.calling += 1
  }

  /** A charger that has begun a call and does not know yet what comes of it. */
  async #calling(client: pg.Client): Promise<number | undefined> {
    const present = this.#options.crew.pids('charger')
    for (let tries = 0; tries < 100; tries += 1) {
      const { rows } = await client.query<{ pid: number }>(CALLING)
      const found = rows.find(({ pid }) => present.includes(pid))
      if (found) return found.pid
      await pause(3)
    }
    return undefined
  }

  #any(role: Role): number | undefined {
    const present = this.#options.crew.pids(role)
    return present[Math.floor(this.#random() * present.length)]
  }
}

function partition<Item>(items: readonly Item[], holds: (item: Item) => boolean): [Item[], Item[]] {
  return [items.filter(holds), items.filter((item) => !holds(item))]
}

// The holder of a claim is written as host/pid/instance.
const CALLING = `
  select split_part(holder, '/', 2)::int as pid
  from posthaste.effects
  where state in ('started', 'unknown') and lease_until > clock_timestamp() and outcome is null and key_calls > 0
  order by changed_at desc`

const CUT = `
  select pg_terminate_backend(pid)
  from (
    select pid from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid() and application_name ~ '^(shop|posthaste)'
    order by (state = 'active' or backend_xid is not null) desc, random()
    limit 1
  ) a`
