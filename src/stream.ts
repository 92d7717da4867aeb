import { ask } from './ask.ts'
import type { ClaimLoop } from './consumer/claim-loop.ts'
import type { Context } from './context.ts'
import { type GroupStatus, groupStatus } from './postgres/streams.ts'
import { numberOf } from './queue-number.ts'
import type { MessageFacts } from './rules/delivery.ts'
import { Group } from './stream/group.ts'
import { type ReadOptions, readLog } from './stream/read.ts'

export type { Counted, GroupStatus, ParkedKey } from './postgres/streams.ts'
export {
  Group,
  type GroupPauseOptions,
  type ParkedOptions,
  type ReplayOptions,
  type SeekOptions,
} from './stream/group.ts'
export type { From } from './stream/groups.ts'
export type { ReadOptions } from './stream/read.ts'

/** What the nouns of a process share, for reading. */
export interface StreamPlace {
  readonly context: Context
  readonly claims: ClaimLoop
}

/**
 * One stream, seen from outside: the groups that read it, and what it holds.
 *
 * ```ts
 * await posthaste.stream('ledger').group('fraud').pause({ reason: 'the model is being replaced' })
 * ```
 */
export class Stream {
  readonly name: string
  readonly #place: StreamPlace

  constructor(place: StreamPlace, name: string) {
    this.name = name
    this.#place = place
  }

  /** Its groups as they stand. */
  async groups(): Promise<GroupStatus[]> {
    const { context } = this.#place
    const queue = await numberOf(context, this.name)
    return await ask(context, groupStatus(context.tables, queue, null))
  }

  /** One of its groups; by default the one that is named as the stream is. */
  group(name: string = this.name): Group {
    return new Group(this.#place.context, { stream: this.name, name })
  }

  /**
   * Its messages, one after the other, for whoever asks: no group, nothing written down, as many readers as you like, each gets all
   * of it. In the order of the stream; woken by the relay; bounded memory, however slow you are; a lost connection is made again, and
   * nothing is missed or doubled by it. It ends with the signal, without an error. When the log was emptied before it was read that
   * far: `LogTrimmed`.
   *
   * ```ts
   * for await (const { type, key, payload } of posthaste.stream('ledger').read({ from: 'earliest', signal })) {
   *   console.log(type, key, payload)
   * }
   * ```
   */
  read(options?: ReadOptions): AsyncGenerator<MessageFacts, void, undefined> {
    return readLog({ ...this.#place, stream: this.name }, options)
  }
}
