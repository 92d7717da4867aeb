import type { ConsumerOptions } from '../consumer.ts'
import type { Context } from '../context.ts'
import type { Outbox } from '../outbox.ts'
import { summarise } from '../rules/error-summary.ts'
import type { QueueSettings } from '../rules/topology.ts'
import type { Attempt } from './attempt.ts'
import { Breaker } from './breaker.ts'
import type { OnError } from './failing.ts'
import { Flow } from './flow.ts'
import { Gate } from './gate.ts'
import type { Handlers } from './handlers.ts'
import type { ConsumerPlace } from './running.ts'

/** What the parts of one consumer share while it runs. */
export interface Seat<Tx> {
  readonly context: Context<Tx>
  readonly outbox: Pick<Outbox, 'publishIn'>
  readonly queue: QueueSettings
  /** The queue's number in this database. */
  readonly number: number
  readonly handlers: Handlers
  readonly timeoutMs: number
  readonly onError: OnError | undefined
  /** The attempts whose handlers run. */
  readonly attempts: Set<Attempt>
  /** Fires when nothing new is to be begun. */
  readonly stopping: AbortSignal
  /** The rules by which its deliveries flow. */
  readonly flow: Flow
  /** Whether anything may be claimed or begun. */
  readonly gate: Gate
  readonly breaker: Breaker
  /** Something was put aside that is due in so many milliseconds. */
  scheduled(delayMs: number): void
}

/** What differs between those who take a seat. */
export interface Seating extends Pick<Seat<never>, 'handlers' | 'number' | 'stopping' | 'scheduled'> {
  /** The gate has opened. */
  opened(): void
  /** The queue is to be looked at. */
  look(): void
}

export function seatOf<Tx>(
  { context, outbox, queue }: ConsumerPlace<Tx>,
  { timeoutMs, onError }: Pick<Required<ConsumerOptions>, 'timeoutMs' | 'onError'>,
  { handlers, number, stopping, scheduled, opened, look }: Seating,
): Seat<Tx> {
  const gate = new Gate({ queue: queue.name, events: context.events, opened, look })
  const flow = new Flow()
  const breaker = new Breaker({ context: context as Context, queue, number, flow, gate, timeoutMs })
  const attempts = new Set<Attempt>()
  return {
    context,
    outbox,
    queue,
    number,
    handlers,
    timeoutMs,
    onError,
    attempts,
    stopping,
    flow,
    gate,
    breaker,
    scheduled,
  }
}

/** Whether what was claimed may be begun; else it goes back unattempted. */
export function mayBegin({ stopping, gate }: Pick<Seat<never>, 'stopping' | 'gate'>): boolean {
  return !stopping.aborted && gate.passable
}

/** Tells of what failed beside the handlers. */
export function report(
  { context, queue }: { readonly context: Pick<Context, 'events'>; readonly queue: { readonly name: string } },
  error: unknown,
): void {
  context.events.emit('error', { where: `consumer of ${queue.name}`, error: summarise(error) })
}
