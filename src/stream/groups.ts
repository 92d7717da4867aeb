import { ask } from '../ask.ts'
import type { Context } from '../context.ts'
import { InvalidOption } from '../errors.ts'
import {
  BEGINNING,
  latestPosition,
  makeGroup,
  type Position,
  positionAtTime,
  positionOfMessage,
} from '../postgres/streams.ts'

/** Where a reader begins. */
export type From = 'earliest' | 'latest' | Date | string

/** A position, and the time before which nothing counts. */
export interface Place {
  readonly at: Position
  readonly since: Date | null
}

/** The position that a name, a time or a message stands for. */
export async function placeOf(context: Context, from: From): Promise<Place> {
  const { tables } = context
  if (from === 'earliest') return { at: BEGINNING, since: null }
  if (from === 'latest') {
    const [at] = await ask(context, latestPosition(tables))
    return { at: at!, since: at!.now }
  }
  if (from instanceof Date) {
    const [at] = await ask(context, positionAtTime(tables, from))
    return { at: at!, since: from }
  }
  const [at] = await ask(context, positionOfMessage(tables, from))
  if (!at) throw new InvalidOption('from', `the log holds no message "${from}"`)
  return { at, since: null }
}

/** The number of a group; one that is not there yet is made, and begins where `from` says. */
export async function joinOrMake(
  context: Context,
  {
    queue,
    name,
    from,
  }: { readonly queue: number; readonly stream: string; readonly name: string; readonly from: From },
): Promise<number> {
  const { at, since } = await placeOf(context, from)
  const [group] = await ask(context, makeGroup(context.tables, { queue, name, at, since }))
  return group!.grp
}
