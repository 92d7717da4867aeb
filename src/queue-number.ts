import { ask } from './ask.ts'
import type { Context } from './context.ts'
import { UnknownQueue } from './errors.ts'
import { queueNumber, storedQueues } from './postgres/topology.ts'

/** The number of a queue in this database, or an `UnknownQueue` with the nearest that exists. */
export async function numberOf(context: Context, queue: string): Promise<number> {
  const [found] = await ask(context, queueNumber(context.tables, queue))
  if (found) return found.id
  const known = await ask(context, storedQueues(context.tables))
  throw new UnknownQueue(
    queue,
    known.map(({ name }) => name),
  )
}
