import type { Database, Session } from '../database.ts'
import type { EventBus } from '../events.ts'
import { abortable } from '../machinery/abortable.ts'
import { Loop, UNTIL_WOKEN } from '../machinery/loop.ts'
import { ping, prepareToWait, waitForDuty } from '../postgres/duty.ts'
import type { Listener } from '../postgres/listener.ts'
import { Outage } from '../postgres/outage.ts'
import { run } from '../postgres/queryable.ts'
import type { Tables } from '../postgres/tables.ts'
import { Sleep } from './sleep.ts'

export interface DutyContext {
  readonly database: Pick<Database<unknown>, 'query' | 'session'>
  readonly tables: Tables
  readonly events: EventBus
  readonly instance: string
  readonly listener: Listener
  readonly listenUrl?: string
}

/** `away`: no session to hold a lock with. `waiting`: another relay has the duty. */
export type DutyState = 'away' | 'waiting' | 'held'

// A backend that waits for a lock holds a snapshot, which keeps vacuum from what dies meanwhile: so it waits in slices.
const PATIENCE_MS = 10_000
const PING_EVERY_MS = 15_000
const PING_DEADLINE_MS = 5_000
const RISE_BEFORE_LEAVING_MS = 500

/**
 * The duty lock, on a connection that does nothing else: one relay of a schema holds it, the others wait for it, and the
 * server hands it over the moment its holder's connection ends. Holding it is no right to route, which is the turn's row:
 * it is the right to sleep until notified, and the duty of upkeep.
 *
 * Where notifications do not arrive, session locks are not to be trusted either (a pooler hands sessions around): nobody
 * has the duty there and everybody polls.
 */
export class Duty {
  readonly sleep: Sleep
  readonly #context: DutyContext
  readonly #onChange: () => void
  readonly #loop: Loop
  readonly #outage: Outage
  #state: DutyState = 'away'
  #session: Session | undefined
  #lost: unknown
  #unwatch: (() => void) | undefined

  constructor(context: DutyContext, onChange: () => void) {
    this.#context = context
    this.#onChange = onChange
    this.#outage = new Outage(context.events, 'relay')
    this.#loop = new Loop((signal) => this.#serve(signal), {
      onError: (error) => this.#fail(error),
      backoff: { minMs: 50, maxMs: 15_000 },
    })
    this.sleep = new Sleep({
      tables: context.tables,
      database: context.database,
      onSettled: onChange,
      onBroken: (session, error) => void this.#drop(session, error),
    })
  }

  get state(): DutyState {
    return this.#state
  }

  start(): void {
    this.#unwatch ??= this.#context.listener.onChange(() => this.#loop.wake())
    this.#loop.start()
  }

  async stop(): Promise<void> {
    this.#unwatch?.()
    this.#unwatch = undefined
    await this.#loop.stop()
    await this.#leave()
  }

  /** Asks for the sleep lock. */
  ask(): void {
    if (this.#session && this.#state === 'held') this.sleep.ask(this.#session)
  }

  async #serve(signal: AbortSignal): Promise<number> {
    if (this.#lost) throw this.#lost
    if (!this.#context.listener.healthy) return await this.#leave().then(() => UNTIL_WOKEN)
    const session = this.#session ?? (await this.#connect(signal))
    if (this.#state !== 'held') return await this.#wait(session, signal)
    if (this.sleep.state === 'asleep') await this.#ping(session)
    return PING_EVERY_MS
  }

  async #connect(signal: AbortSignal): Promise<Session> {
    const { database, instance, listenUrl, tables } = this.#context
    if (!database.session) throw new Error('the database adapter opens no connections of its own')
    const opening = database.session({
      applicationName: `posthaste relay ${instance}`,
      ...(listenUrl !== undefined && { url: listenUrl }),
    })
    const session = await abortable(opening, signal, (late) => 'unavailable' in late || void late.close())
    if ('unavailable' in session) throw new Error(session.unavailable)
    this.#session = session
    session.onLost((error) => this.#lose(session, error))
    const [answer] = await run(session, prepareToWait(tables))
    if (!answer?.fit) throw new Error('the server is a standby')
    this.#outage.ends()
    this.#turn('waiting')
    return session
  }

  async #wait(session: Session, signal: AbortSignal): Promise<number> {
    const { text, values } = waitForDuty(this.#context.tables, { patienceMs: PATIENCE_MS })
    const deadlineMs = PATIENCE_MS + PING_DEADLINE_MS
    const { rows } = await abortable(session.query(text, values, { deadlineMs }), signal)
    if (rows[0]?.granted && this.#session === session) this.#turn('held')
    return 0
  }

  // While it sleeps the relay hears nothing of a session whose other end is gone, and publishers are silent then.
  async #ping(session: Session): Promise<void> {
    const { text, values } = ping()
    await session.query(text, values, { deadlineMs: PING_DEADLINE_MS })
  }

  #turn(state: DutyState): void {
    if (this.#state === state) return
    const before = this.#state
    this.#state = state
    if (state === 'held') this.#context.events.emit('relay-on-duty', { instance: this.#context.instance })
    if (before === 'held') this.#context.events.emit('relay-stood-by', { instance: this.#context.instance })
    this.#onChange()
  }

  #fail(error: unknown): void {
    const session = this.#session
    if (session) void this.#drop(session, error)
    this.#lost = undefined
    this.#outage.begins(error)
  }

  // The loop's next step throws the error, so that it is the loop that pauses before the next try.
  #lose(session: Session, error: unknown): void {
    if (this.#session !== session) return
    this.#session = undefined
    this.#lost = error
    this.#outage.begins(error)
    this.sleep.forget()
    this.#turn('away')
    this.#loop.wake()
  }

  async #drop(session: Session, error: unknown): Promise<void> {
    this.#lose(session, error)
    await session.close().catch(() => {})
  }

  // A request that waits is taken back first: not every server notices that the client of a waiting backend is gone.
  async #leave(): Promise<void> {
    const session = this.#session
    if (!session) return
    if (this.sleep.state === 'asking') await Promise.race([this.sleep.risen(), after(RISE_BEFORE_LEAVING_MS)])
    this.#session = undefined
    this.sleep.forget()
    this.#turn('away')
    await session.close().catch(() => {})
  }
}

function after(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}
