import type pg from 'pg'
import { CommitUnknown, Posthaste } from '../index.ts'
import { type Brief, brief, databaseOf } from './child.ts'
import { type Order, orderOf } from './order.ts'
import { Intents, type Knowledge } from './record.ts'
import { OrderPlaced, topology } from './shop.ts'
import { Tickets } from './tickets.ts'

/** Of all orders, this producer places those whose number leaves `share` when divided by `shares`. */
export interface ProducerBrief extends Brief {
  readonly orders: number
  readonly seed: number
  readonly share: number
  readonly shares: number
  readonly intents: string
}

const COUNTERS = 4

class ChangedMind extends Error {}

const told = brief<ProducerBrief>()
const { pool, database } = databaseOf(told, COUNTERS)
const posthaste = new Posthaste({ database, topology, service: 'shop' })
const tickets = new Tickets()
const tally: Record<Knowledge, number> = { committed: 0, rolledBack: 0, unknown: 0 }

process.on('message', ({ granted }: { granted: number }) => tickets.grant(granted))

const reporting = setInterval(() => process.send?.(tally), 100)
const intents = await Intents.appendTo(told.intents)
const numbers = share()
await Promise.all(Array.from({ length: COUNTERS }, counter))
await intents[Symbol.asyncDispose]()
await pool.end()
clearInterval(reporting)
process.send?.(tally, () => process.exit(0))

function* share(): Generator<number> {
  for (let id = told.share + 1; id <= told.orders; id += told.shares) yield id
}

async function counter(): Promise<void> {
  for (const id of numbers) {
    await tickets.reach(id)
    await place(orderOf(told.seed, id))
  }
}

async function place(order: Order): Promise<void> {
  const { id, customer, lines, totalCents } = order
  const { article, quantity } = lines[0]
  const message = OrderPlaced.create({ orderId: id, customer, article, quantity, totalCents })
  await intents.intend({ order: id, messageId: message.id, totalCents })
  const outcome = await transact(order, message)
  await intents.learn({ order: id, outcome })
  tally[outcome] += 1
}

async function transact(order: Order, message: ReturnType<typeof OrderPlaced.create>): Promise<Knowledge> {
  try {
    await database.transaction(async (tx) => {
      await write(tx, order)
      await posthaste.publish(tx, message)
      if (order.rollsBack) throw new ChangedMind()
    })
    return 'committed'
  } catch (error) {
    return knowledgeOf(error)
  }
}

async function write(tx: pg.PoolClient, { id, customer, totalCents, lines }: Order): Promise<void> {
  await tx.query(
    `with placed as (insert into shop.orders (id, customer, total_cents) values ($1, $2, $3))
     insert into shop.order_lines (order_id, article, quantity, cents) select $1, * from unnest($4::text[], $5::int[], $6::bigint[])`,
    [id, customer, totalCents, ...columns(lines)],
  )
}

function columns(lines: Order['lines']): unknown[] {
  return [lines.map(({ article }) => article), lines.map(({ quantity }) => quantity), lines.map(({ cents }) => cents)]
}

// Before COMMIT is sent, a cut connection is a rollback; a mistake of ours is neither and ends the demo.
function knowledgeOf(error: unknown): Knowledge {
  if (error instanceof CommitUnknown) return 'unknown'
  if (error instanceof ChangedMind || wasCut(error)) return 'rolledBack'
  throw error
}

// What pg and Posthaste say when a connection was taken from under them, in whichever moment.
function wasCut(error: unknown): boolean {
  const { code = '', message = '' } = error as { code?: string; message?: string }
  return (
    /^(57P0\d|08\w{3}|E(CONN\w+|PIPE)|CONNECTION_LOST|DATABASE_UNREACHABLE)$/.test(code) ||
    /connection (terminated|error)|not queryable/i.test(message)
  )
}
