import { ask } from './ask.ts'
import type { Context } from './context.ts'
import { UnknownQueue } from './errors.ts'
import { queueNumber, type StoredQueue, storedQueue, storedQueues } from './postgres/topology.ts'

/** The number of a queue in this database, or an `UnknownQueue` with the nearest that exists. */
export async function numberOf(context: Context, queue: string): Promise<number> {
  const [found] = await ask(context, queueNumber(context.tables, queue))
  return found?.id ?? (await refuseUnknown(context, queue))
}

/** A queue as it is declared in this database, or an `UnknownQueue`. */
export async function settingsOf(context: Context, queue: string): Promise<StoredQueue> {
  const [found] = await ask(context, storedQueue(context.tables, queue))
  return found ?? (await refuseUnknown(context, queue))
}

async function refuseUnknown(context: Context, queue: string): Promise<never> {
  const known = await ask(context, storedQueues(context.tables))
  throw new UnknownQueue(
    queue,
    known.map(({ name }) => name),
  )
}
