import { randomUUID } from 'node:crypto'
import type pg from 'pg'
import { clock } from './clock.ts'
import { orderOf } from './filled.ts'
import type { Peer, Publisher } from './peer.ts'
import { plain } from './plain.ts'

const insertOrder = plain('publish-tx')('insert_order')

export const DUAL_WRITE = 'added after COMMIT on another connection: a crash in between loses the message'

/** The business row and its message: in one transaction, or, where a peer cannot, one after the other. Answers when COMMIT was sent. */
export async function placeOrder(
  peer: Peer,
  client: pg.PoolClient,
  publisher: Publisher,
  n: number,
  topic = 'order.placed',
): Promise<number> {
  const order = orderOf(n)
  await client.query('begin')
  await client.query({ ...insertOrder, values: [randomUUID(), order.cents, order.country] })
  if (!peer.cannot['publish-in-transaction']) {
    await publisher.publish(client, topic, order)
    const sentAt = clock()
    await client.query('commit')
    return sentAt
  }
  await client.query('commit')
  const calledAt = clock()
  await publisher.publish(client, topic, order)
  return calledAt
}
