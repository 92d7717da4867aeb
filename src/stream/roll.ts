import type { Context } from '../context.ts'
import type { Session } from '../database.ts'
import { Loop } from '../machinery/loop.ts'
import { Throttle } from '../machinery/throttle.ts'
import { run } from '../postgres/queryable.ts'
import { type GroupLook, joinGroup, leaveGroup, lookAtGroups } from '../postgres/streams.ts'
import { summarise } from '../rules/error-summary.ts'

/** Who is told of a group. */
export interface OnRoll {
  /** How the group is, and the number by which this process is among its members; undefined while it has no session. */
  see(look: GroupLook, member: number | undefined): void
  /** The session of this process was lost, and with it, it may be, what the server had not written to disk of positions. */
  lost(): void
  /** Whether there is something to do, so that the next look had better be soon. */
  readonly active: boolean
}

const ACTIVE_MS = 500
const IDLE_MS = 2_000
const SOON_MS = 50
const NO_SESSION_RETRY_MS = 30_000

/**
 * The members of the groups that this process reads in, without a coordinator: each process has a session that holds a lock for each of
 * its groups, and the server's table of locks says who lives. Whoever dies is out of it at once, and the next look of the others, one
 * statement for all groups of a process, deals its lanes out anew.
 *
 * Without sessions, behind a pooler, nobody knows of the others, and everybody tries all lanes: their locks decide.
 */
export class Roll {
  readonly #context: Context
  readonly #groups = new Map<number, Set<OnRoll>>()
  readonly #joined = new Set<number>()
  readonly #throttle = new Throttle()
  #loop: Loop | undefined
  #session: Session | undefined
  #noSessionUntil = 0
  #soon: NodeJS.Timeout | undefined

  constructor(context: Context) {
    this.#context = context
  }

  /** Tells of a group from now on; what it returns ends that. */
  enlist(group: number, reader: OnRoll): () => Promise<void> {
    const readers = this.#groups.get(group) ?? new Set()
    this.#groups.set(group, readers.add(reader))
    this.#run()
    return async () => {
      readers.delete(reader)
      if (readers.size === 0) await this.#leave(group)
    }
  }

  /** Looks soon. */
  hurry(): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined
      this.#loop?.wake()
    }, SOON_MS)
  }

  /** The number of this process among members; undefined while it has no session. */
  get member(): number | undefined {
    return this.#session?.pid
  }

  #run(): void {
    if (this.#loop) {
      this.#loop.wake()
      return
    }
    this.#loop = new Loop(() => this.#look(), { onError: (error) => this.#report(error) })
    this.#loop.start()
  }

  async #leave(group: number): Promise<void> {
    this.#groups.delete(group)
    if (this.#groups.size === 0) return await this.#rest()
    if (this.#session && this.#joined.delete(group))
      await run(this.#session, leaveGroup(this.#context.tables, group)).catch(() => {})
  }

  async #rest(): Promise<void> {
    clearTimeout(this.#soon)
    this.#soon = undefined
    const loop = this.#loop
    this.#loop = undefined
    await loop?.stop()
    const session = this.#session
    this.#session = undefined
    this.#joined.clear()
    await session?.close().catch(() => {})
  }

  async #look(): Promise<number> {
    await this.#join()
    const { database, tables } = this.#context
    const groups = [...this.#groups.keys()]
    const looks = await run(database, lookAtGroups(tables, groups))
    let restMs = IDLE_MS
    for (const look of looks)
      for (const reader of this.#groups.get(look.group) ?? []) {
        reader.see(look, this.#session?.pid)
        restMs = Math.min(restMs, reader.active ? ACTIVE_MS : IDLE_MS, Math.max(SOON_MS, look.dueMs ?? IDLE_MS))
      }
    return restMs
  }

  async #join(): Promise<void> {
    await this.#open()
    if (!this.#session) return
    for (const group of this.#groups.keys()) {
      if (this.#joined.has(group)) continue
      await run(this.#session, joinGroup(this.#context.tables, group))
      this.#joined.add(group)
    }
  }

  async #open(): Promise<void> {
    const { database, listenUrl } = this.#context
    if (this.#session || !database.session || performance.now() < this.#noSessionUntil) return
    const opened = await database
      .session({ applicationName: 'posthaste lanes', ...(listenUrl === undefined ? {} : { url: listenUrl }) })
      .catch((error) => {
        this.#report(error)
        return { unavailable: String(error) }
      })
    if ('unavailable' in opened) {
      this.#noSessionUntil = performance.now() + NO_SESSION_RETRY_MS
      return
    }
    this.#session = opened
    opened.onLost(() => {
      if (this.#session !== opened) return
      this.#session = undefined
      this.#joined.clear()
      for (const readers of this.#groups.values()) for (const reader of readers) reader.lost()
      this.hurry()
    })
  }

  #report(error: unknown): void {
    const summary = summarise(error)
    if (this.#throttle.allows(summary.message))
      this.#context.events.emit('error', { where: 'stream groups', error: summary })
  }
}

const rolls = new WeakMap<object, Roll>()

/** The one roll of a Posthaste. */
export function rollOf(context: Context): Roll {
  const roll = rolls.get(context.events) ?? new Roll(context)
  rolls.set(context.events, roll)
  return roll
}
