import type { Context } from '../context.ts'
import type { Outbox } from '../outbox.ts'
import { summarise } from '../rules/error-summary.ts'
import type { QueueSettings } from '../rules/topology.ts'
import type { Attempt } from './attempt.ts'
import type { Breaker } from './breaker.ts'
import type { OnError } from './failing.ts'
import type { Flow } from './flow.ts'
import type { Gate } from './gate.ts'
import type { Handlers } from './handlers.ts'

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

/** Tells of what failed beside the handlers. */
export function report(
  { context, queue }: { readonly context: Pick<Context, 'events'>; readonly queue: { readonly name: string } },
  error: unknown,
): void {
  context.events.emit('error', { where: `consumer of ${queue.name}`, error: summarise(error) })
}
