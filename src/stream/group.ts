import { z } from 'zod'
import { ask } from '../ask.ts'
import type { Context } from '../context.ts'
import { UnknownGroup } from '../errors.ts'
import { groupNames, groupNumber, pauseGroup, resumeGroup } from '../postgres/streams.ts'
import { numberOf } from '../queue-number.ts'
import { milliseconds, parseOptions } from '../rules/options.ts'

/** For how long nothing of a group is read, why, and by whom. */
export interface GroupPauseOptions {
  /** For how long, in milliseconds; then it resumes by itself. @default until `resume()` */
  readonly forMs?: number | undefined
  /** Why; `status` shows it. @default none */
  readonly reason?: string | undefined
  /** Who does it; `status` shows it. @default none */
  readonly by?: string | undefined
}

const PAUSE = z.strictObject({
  forMs: milliseconds(1).optional(),
  reason: z.string().min(1).optional(),
  by: z.string().min(1).optional(),
})

/** The readers of a stream that share it, for those who operate them. */
export class Group {
  readonly stream: string
  readonly name: string
  readonly #context: Context

  constructor(context: Context, { stream, name }: { readonly stream: string; readonly name: string }) {
    this.#context = context
    this.stream = stream
    this.name = name
  }

  /**
   * No process begins anything for the group from now on, until the time is over or somebody resumes it. Handlers under way finish;
   * where it has come stays, and so does the log that it has not read.
   */
  async pause(options: GroupPauseOptions = {}): Promise<void> {
    const { forMs = null, reason = null, by = null } = parseOptions(PAUSE, options)
    const group = await this.#number()
    await ask(this.#context, pauseGroup(this.#context.tables, { group, forMs, reason, by }))
  }

  /** Goes on. False: it was not paused. */
  async resume(): Promise<boolean> {
    const [{ resumed } = { resumed: false }] = await ask(
      this.#context,
      resumeGroup(this.#context.tables, await this.#number()),
    )
    return resumed
  }

  async #number(): Promise<number> {
    const { tables } = this.#context
    const queue = await numberOf(this.#context, this.stream)
    const [found] = await ask(this.#context, groupNumber(tables, queue, this.name))
    if (found) return found.id
    const names = await ask(this.#context, groupNames(tables, queue))
    throw new UnknownGroup(
      this.stream,
      this.name,
      names.map(({ name }) => name),
    )
  }
}
