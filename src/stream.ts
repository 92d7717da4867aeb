import type { Context } from './context.ts'
import { Group } from './stream/group.ts'

export { Group, type GroupPauseOptions } from './stream/group.ts'
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

  /** One of its groups; by default the one that is named as the stream is. */
  group(name: string = this.name): Group {
    return new Group(this.#context, { stream: this.name, name })
  }
}
