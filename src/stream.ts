import { ask } from './ask.ts'
import type { Context } from './context.ts'
import { type GroupStatus, groupStatus } from './postgres/streams.ts'
import { numberOf } from './queue-number.ts'
import { Group } from './stream/group.ts'

export type { Counted, GroupStatus, ParkedKey } from './postgres/streams.ts'
export {
  Group,
  type GroupPauseOptions,
  type ParkedOptions,
  type ReplayOptions,
  type SeekOptions,
} from './stream/group.ts'
export type { From } from './stream/groups.ts'

/**
 * One stream, seen from outside: the groups that read it, and what it holds.
 *
 * ```ts
 * await posthaste.stream('ledger').group('fraud').pause({ reason: 'the model is being replaced' })
 * ```
 */
export class Stream {
  readonly name: string
  readonly #context: Context

  constructor(context: Context, name: string) {
    this.name = name
    this.#context = context
  }

  /** Its groups as they stand. */
  async groups(): Promise<GroupStatus[]> {
    const queue = await numberOf(this.#context, this.name)
    return await ask(this.#context, groupStatus(this.#context.tables, queue, null))
  }

  /** One of its groups; by default the one that is named as the stream is. */
  group(name: string = this.name): Group {
    return new Group(this.#context, { stream: this.name, name })
  }
}
