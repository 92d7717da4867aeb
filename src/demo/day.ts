import { setTimeout as pause } from 'node:timers/promises'
import pg from 'pg'
import { type Audit, migrate, Posthaste, pgDatabase } from '../index.ts'
import { auditShop, type Findings } from './audit.ts'
import { Chaos, type Kills } from './chaos.ts'
import { DemoFailure } from './failure.ts'
import { injectDuplicate, injectLoss } from './injection.ts'
import { ARTICLES, SERVICES, stockOf, TABLES, topology } from './shop.ts'
import { Staff } from './staff.ts'
import type { Progress, View } from './view.ts'

export interface DayOptions {
  readonly orders: number
  readonly seed: number
  readonly chaos: boolean
  readonly inject?: 'loss' | 'duplicate' | undefined
  readonly url: string
  /** The file of the producers' record. */
  readonly intents: string
  readonly cache: string
  readonly view: View
}

export interface Account {
  readonly findings: Findings
  readonly kills: Kills
  readonly auditDifference: number
}

const PRODUCERS = 2
const WORKERS = 2
const BEAT_MS = 50
const LOOK_EVERY_MS = 300
const STUCK_MS = 60_000

// With chaos the producers take their time, so that there is something in hand to be hit.
const UNHURRIED_MS = 9_000
const UNHURRIED_MS_PER_ORDER = 10

// A machine ten times slower than one with two cores of our days.
const DEADLINE_MS = 120_000
const DEADLINE_MS_PER_ORDER = 30

/** One day of the shop: it opens, everybody works until nothing is left to do, and then everything is counted. */
export class Day {
  readonly #options: DayOptions
  readonly #pool: pg.Pool
  readonly #posthaste: Posthaste<pg.PoolClient>
  readonly #staff: Staff
  readonly #chaos: Chaos | undefined
  readonly #producers = new Map<string, Progress['orders']>()
  #effects: Progress['effects'] = { billing: 0, inventory: 0, notifications: 0 }
  #openedAt = 0
  #over = false

  constructor(options: DayOptions) {
    this.#options = options
    const { url, orders, seed, chaos, cache } = options
    this.#pool = new pg.Pool({ connectionString: url, application_name: 'shop office', max: 4 })
    this.#posthaste = new Posthaste({ database: pgDatabase(this.#pool), topology, service: 'shop' })
    const onMessage = (title: string, tally: unknown) => this.#producers.set(title, tally as Progress['orders'])
    this.#staff = new Staff({ url, cache, onMessage })
    if (chaos) this.#chaos = new Chaos({ orders, seed, url, staff: this.#staff, placed: () => placedOf(this.#orders) })
  }

  async pass(signal: AbortSignal): Promise<Account> {
    try {
      await this.#open()
      this.#hire()
      await together(signal, [(together) => this.#work(together), (together) => this.#disturb(together)])
      await this.#staff.dismiss()
      return await this.#account()
    } finally {
      await this.#staff[Symbol.asyncDispose]()
      await this.#pool.end()
    }
  }

  async #open(): Promise<void> {
    const { url, orders } = this.#options
    await migrate({ url })
    await this.#posthaste.declare()
    await this.#pool.query(TABLES)
    await this.#pool.query(
      'insert into shop.stock (article, stocked, remaining) select article, $2, $2 from unnest($1::text[]) article',
      [ARTICLES, stockOf(orders)],
    )
    this.#openedAt = performance.now()
  }

  #hire(): void {
    const { orders, seed, intents } = this.#options
    this.#staff.hire('relay', 'relay')
    for (const service of SERVICES) {
      for (let n = 1; n <= WORKERS; n += 1) this.#staff.hire('worker', `${service}-${n}`, { service })
    }
    for (let n = 1; n <= PRODUCERS; n += 1) {
      this.#staff.hire('producer', `producer-${n}`, { orders, seed, intents, share: n - 1, shares: PRODUCERS })
    }
  }

  /** Until every order is placed and every message has come to its end. */
  async #work(signal: AbortSignal): Promise<void> {
    const patience = new Patience(this.#options.orders)
    for (let beat = 0; ; beat += 1) {
      if (this.#staff.failure) throw this.#staff.failure
      this.#staff.tell('producer', { granted: this.#tickets })
      if (beat % (LOOK_EVERY_MS / BEAT_MS) === 0) {
        const left = await this.#look()
        if (left === undefined) break
        patience.check(left)
      }
      await pause(BEAT_MS, undefined, { signal })
    }
    this.#over = true
  }

  async #disturb(signal: AbortSignal): Promise<void> {
    const loss = this.#options.inject === 'loss' ? injectLoss(this.#pool, () => this.#over, signal) : undefined
    await this.#chaos?.rage(signal)
    await loss
  }

  get #tickets(): number {
    const { orders } = this.#options
    if (!this.#chaos) return orders
    const unhurriedMs = Math.min(UNHURRIED_MS, orders * UNHURRIED_MS_PER_ORDER)
    const pace = Math.ceil((orders * (performance.now() - this.#openedAt)) / unhurriedMs)
    return Math.min(pace, this.#chaos.frontier)
  }

  get #orders(): Progress['orders'] {
    const sum = { committed: 0, rolledBack: 0, unknown: 0 }
    for (const { committed, rolledBack, unknown } of this.#producers.values()) {
      sum.committed += committed
      sum.rolledBack += rolledBack
      sum.unknown += unknown
    }
    return sum
  }

  /** What is left to do, in words; undefined when nothing is. */
  async #look(): Promise<string | undefined> {
    const { rows } = await this.#pool.query(
      'select service, count(*)::int as effects from shop.effects group by service',
    )
    this.#effects = { ...this.#effects, ...Object.fromEntries(rows.map(({ service, effects }) => [service, effects])) }
    this.#show()
    if (!this.#staff.done('producer'))
      return `${placedOf(this.#orders)} orders placed, effects ${JSON.stringify(this.#effects)}`
    return leftOf(await this.#posthaste.audit())
  }

  #show(): void {
    const kills = this.#chaos?.kills ?? NO_KILLS
    this.#options.view.show({ orders: this.#orders, effects: this.#effects, kills })
  }

  async #account(): Promise<Account> {
    if (this.#options.inject === 'duplicate') await injectDuplicate(this.#pool)
    const kills = this.#chaos?.kills ?? NO_KILLS
    const findings = await auditShop(this.#pool, this.#options.intents)
    const { difference, queues } = await this.#posthaste.audit()
    const dead = queues.reduce((sum, queue) => sum + queue.dead, 0)
    this.#effects = findings.effects
    this.#show()
    this.#options.view.result(findings, { kills, difference, dead, crashes: this.#staff.crashes })
    return { findings, kills, auditDifference: difference }
  }
}

const NO_KILLS: Kills = Object.freeze({ relay: 0, worker: 0, backend: 0, withWorkInFlight: 0 })

function placedOf({ committed, rolledBack, unknown }: Progress['orders']): number {
  return committed + rolledBack + unknown
}

function leftOf({ queues, exchanges }: Audit): string | undefined {
  const unrouted = exchanges
    .filter(({ unrouted }) => unrouted > 0)
    .map((exchange) => `${exchange.unrouted} to be routed`)
  const waiting = queues
    .filter(({ ready, scheduled, leased }) => ready + scheduled + leased > 0)
    .map(({ queue, ready, scheduled, leased }) => `${queue}: ${ready} ready, ${scheduled} scheduled, ${leased} leased`)
  const left = [...unrouted, ...waiting]
  return left.length > 0 ? left.join('; ') : undefined
}

/** Ends a demo in which nothing moves any more, or that takes longer than any machine should. */
class Patience {
  readonly #deadline: number
  #left = ''
  #movedAt = performance.now()

  constructor(orders: number) {
    this.#deadline = performance.now() + DEADLINE_MS + orders * DEADLINE_MS_PER_ORDER
  }

  check(left: string): void {
    const now = performance.now()
    if (left !== this.#left) this.#movedAt = now
    this.#left = left
    if (now > this.#movedAt + STUCK_MS)
      throw new DemoFailure(`Cannot finish "demo": for ${STUCK_MS / 1_000} s nothing has moved; ${left}`)
    if (now > this.#deadline) throw new DemoFailure(`Cannot finish "demo": its deadline is over; ${left}`)
  }
}

/** All of them; when one fails the others are told to end, and its error is the one that counts. */
async function together(
  signal: AbortSignal,
  works: readonly ((signal: AbortSignal) => Promise<void>)[],
): Promise<void> {
  const failure = new AbortController()
  const either = AbortSignal.any([signal, failure.signal])
  const started = works.map((work) => work(either))
  for (const work of started) work.catch((error) => failure.abort(error))
  await Promise.allSettled(started)
  signal.throwIfAborted()
  failure.signal.throwIfAborted()
}
