import { setTimeout as pause } from 'node:timers/promises'
import type pg from 'pg'

const PROBE_MS = 2

/** Takes one delivery away behind the library's back: an order will lack an effect, and the account a message. */
export async function injectLoss(pool: pg.Pool, isOver: () => boolean, signal: AbortSignal): Promise<void> {
  while (!isOver()) {
    if (await takeDelivery(pool)) return
    await pause(PROBE_MS, undefined, { signal })
  }
  await takeEffect(pool)
}

/** Lets one effect happen twice. */
export async function injectDuplicate(pool: pg.Pool): Promise<void> {
  await pool.query(
    `insert into shop.effects (service, order_id, message_id, outcome)
     select service, order_id, message_id, outcome from shop.effects limit 1`,
  )
}

async function takeDelivery(pool: pg.Pool): Promise<boolean> {
  const { rowCount } = await pool.query(
    `delete from posthaste.ready
     where ctid = (select ctid from posthaste.ready order by position desc limit 1 for update skip locked)`,
  )
  return rowCount === 1
}

// When every delivery was gone too quickly.
async function takeEffect(pool: pg.Pool): Promise<void> {
  await pool.query(
    `delete from shop.effects where ctid = (select ctid from shop.effects where service = 'notifications' limit 1)`,
  )
}
