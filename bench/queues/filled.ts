import type pg from 'pg'

/** Puts messages straight into the log, and so many deliveries of them into ready and scheduled of the queue `billing`; counted. */
export async function fill(pool: pg.Pool, { ready, scheduled }: { ready: number; scheduled: number }): Promise<void> {
  const run = (text: string, values: unknown[]) => pool.query({ text, values })
  await pool.query('set synchronous_commit = off')
  await run(
    `insert into posthaste.outbox (message_id, exchange, routing_key, type, key, payload)
     select posthaste.uuid_v7(), 'orders', '', 'order.placed', n::text,
            json_build_object('orderId', n::text, 'cents', 4200, 'country', 'NL')
     from generate_series(1, $1::int) n`,
    [ready + scheduled],
  )
  const queue = `(select id from posthaste.queues where name = 'billing')`
  await run(
    `insert into posthaste.ready (queue, priority, message, message_id)
     select ${queue}, 9, o.id, o.message_id from posthaste.outbox o order by o.id limit $1`,
    [ready],
  )
  await run(
    `insert into posthaste.scheduled (due_at, queue, priority, message, message_id)
     select clock_timestamp() + interval '1 day' + o.id * interval '1 ms', ${queue}, 9, o.id, o.message_id
     from posthaste.outbox o order by o.id desc limit $1`,
    [scheduled],
  )
  await run(`insert into posthaste.tally (scope, name, counter, n) values ('queue', 'billing', 'routed', $1)`, [
    ready + scheduled,
  ])
  await pool.query('vacuum analyze posthaste.ready, posthaste.scheduled, posthaste.outbox')
}
