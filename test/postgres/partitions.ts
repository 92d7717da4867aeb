import type pg from 'pg'
import { until } from '../support/until.ts'
import { type Bench, codeOf } from './bench.ts'

export interface Part {
  readonly name: string
  readonly from: number
  readonly to: number | null
  readonly emptied: boolean
}

export async function partitionsOf(b: Bench): Promise<Part[]> {
  const { rows } = await b.pool.query(
    'select name, from_id, to_id, emptied_at from posthaste.partitions order by from_id',
  )
  return rows.map(({ name, from_id, to_id, emptied_at }) => ({
    name,
    from: Number(from_id),
    to: to_id === null ? null : Number(to_id),
    emptied: emptied_at !== null,
  }))
}

/** The next id is this one. */
export async function goTo(b: Bench, id: number): Promise<void> {
  await b.pool.query(`select setval('posthaste.outbox_id', $1, false)`, [id])
}

/** One step of upkeep; undefined when a lock was not to be had. */
export async function upkeep(b: Bench, call: string, on: pg.Pool | pg.ClientBase = b.pool): Promise<unknown> {
  let done: unknown
  const code = await codeOf(on.query(`select posthaste.${call} as done`).then(({ rows }) => (done = rows[0].done)))
  if (code !== undefined && code !== '55P03') throw new Error(`${call}: ${code}`)
  return done
}

/** Empties a partition, again when somebody's lock is in the way; answers its name. */
export async function emptied(b: Bench): Promise<unknown> {
  return await until(() => upkeep(b, 'empty_partition(0)'))
}

/** Publishers that never rest, and how long each publish took. */
export async function publishers(
  b: Bench,
  n: number,
  over: () => boolean,
): Promise<{ ids: string[]; tookMs: number[] }> {
  const ids: string[] = []
  const tookMs: number[] = []
  await Promise.all(
    Array.from({ length: n }, async () => {
      const client = await b.connect()
      while (!over()) {
        const startedAt = performance.now()
        ids.push(...(await b.publish(client)))
        tookMs.push(performance.now() - startedAt)
        await new Promise((resolve) => setTimeout(resolve, 2))
      }
    }),
  )
  tookMs.sort((one, other) => one - other)
  return { ids, tookMs }
}

export function p99(sorted: readonly number[]): number {
  return sorted[Math.floor(sorted.length * 0.99)]!
}

/** Upkeep in every cycle of its steps, beside everything else. */
export async function upkeepUntil(b: Bench, over: () => boolean): Promise<Map<string, number>> {
  const done = new Map<string, number>()
  const client = await b.connect()
  while (!over()) {
    for (const step of [
      'make_partitions(0)',
      'empty_partition(0)',
      'drop_shells()',
      'make_inbox_part()',
      'trim_logs()',
      'fold_tally()',
    ]) {
      if (await upkeep(b, step, client)) done.set(step, (done.get(step) ?? 0) + 1)
      await new Promise((resolve) => setTimeout(resolve, 20))
    }
    await client.query(
      `update posthaste.partitions set emptied_at = emptied_at - interval '2 minutes' where emptied_at is not null`,
    )
  }
  return done
}
